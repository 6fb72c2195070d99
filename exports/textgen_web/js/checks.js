// Checks of what comes from outside. A rule is a function of a value and its name that throws if the value is wrong; an
// array or an object of rules is the rule for an array or an object with such elements.

/** What a person can fix: a bad option, a damaged file, a character that the model does not know. */
export class TextgenError extends Error {
  name = 'TextgenError';
}

/** What is said of files that cannot be used. */
export const damaged = (file, why) => new TextgenError(`${file} is damaged (${why}); export the run again`);

/** A seed as a BigInt. Numbers of more than 53 bits come as BigInt or as text. */
export function readSeed(value, name) {
  const fits = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))
    || (typeof value === 'string' && /^[0-9]{1,20}$/.test(value));
  const seed = fits ? BigInt(value) : -1n;
  if (seed < 0n || seed >= 2n ** 64n) {
    throw new TextgenError(`${name} is ${String(value)}; it must be a whole number from 0 to 2^64 - 1, above 2^53 as text or BigInt`);
  }
  return seed;
}

/** A seed as a number, or as text where a number would be rounded. */
export const writeSeed = seed => (seed <= Number.MAX_SAFE_INTEGER ? Number(seed) : String(seed));

/** The longest text that may be asked for, as in textgen. */
const MOST_CHARACTERS = 1e9;

export function check(rule, value, name) {
  if (typeof rule === 'function') rule(value, name);
  else {
    const isArray = Array.isArray(rule);
    (isArray ? anArray : anObject)(value, name);
    if (isArray) check(oneOf(rule.length), value.length, `${name}.length`);
    for (const key of Object.keys(rule)) check(rule[key], value[key], `${name}.${key}`);
  }
}

/** What a caller has given of the options that there are; null is as good as nothing. Throws if they are aborted. */
export function readOptions(rules, options) {
  const given = {};
  anObject(options ?? {}, 'options');
  for (const [name, value] of Object.entries(options ?? {})) {
    if (!Object.hasOwn(rules, name)) throw new TextgenError(`there is no option ${shown(name)}; there are: ${Object.keys(rules).join(', ')}`);
    if (value === undefined || value === null) continue;
    check(rules[name], value, name);
    given[name] = value;
  }
  given.signal?.throwIfAborted();
  return given;
}

export const must = (what, isRight) => (value, name) => {
  if (!isRight(value)) throw new TextgenError(`${name} is ${shown(value)}; it must be ${what}`);
};

function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return Object(value) === value ? Object.prototype.toString.call(value) : String(value);
}

const anArray = must('an array', Array.isArray);
const anObject = must('an object', value => typeof value === 'object' && value !== null && !Array.isArray(value));
export const aText = must('a text', value => typeof value === 'string');
export const aNumber = must('a number', value => typeof value === 'number');
export const aFlag = must('true or false', value => typeof value === 'boolean');
export const aSeed = (value, name) => void readSeed(value, name);
export const oneOf = (...values) => must(values.map(shown).join(' or '), value => values.includes(value));
export const whole = (least, most = Number.MAX_SAFE_INTEGER) => must(
  `a whole number from ${least} to ${most}`, value => Number.isInteger(value) && value >= least && value <= most,
);
export const listOf = rule => (value, name) => {
  anArray(value, name);
  value.forEach((each, place) => check(rule, each, `${name}.${place}`));
};
export const aLength = whole(1, MOST_CHARACTERS);

const aSignal = must('an AbortSignal', value => typeof value?.throwIfAborted === 'function');

export const LOAD = {kernel: oneOf('simd', 'scalar'), signal: aSignal};

/** The options of reading a text that is not continued. */
export const READ = {label: aText, signal: aSignal};

/** The options of writing, but for a state. */
export const WRITE = {
  ...READ, prompt: aText, length: aLength, temperature: aNumber, topK: aNumber, topP: aNumber, minP: aNumber,
  repetitionPenalty: aNumber, sampler: aText, seed: aSeed, row: aSeed, ignoreEos: aFlag,
  onUnknown: oneOf('error', 'skip', 'unk'), stop: (value, name) => (Array.isArray(value) ? listOf(aText) : aText)(value, name),
};

/**
 * The rule for states of a network.
 *
 * @param {string} model what tells it from other models
 * @param {import('./network.js').Network} network
 */
export function stateOf(model, network) {
  const id = whole(0, network.vocabSize - 1), {layers} = network.start();
  const floats = ({length: size}) => must(
    `a Float32Array of ${size} finite numbers, as structuredClone copies it and JSON does not`,
    value => value instanceof Float32Array && value.length === size && value.every(Number.isFinite),
  );
  return {
    model: must('that of this model', value => value === model),
    network: {layers: layers.map(parts => parts.map(floats)), context: whole(0, network.contexts - 1)},
    tail: (value, name) => {
      listOf(id)(value, name);
      check(whole(1), value.length, `${name}.length`);
    },
    unread: whole(0), step: whole(0), seen: listOf(id), seed: aSeed, row: aSeed,
  };
}
