// Sampler chains such as 'temperature(0.8) | top-k(40) | multinomial', in single precision as textgen computes them.

import {TextgenError} from './checks.js';

const round = Math.fround;
const SMALLEST = 2 ** -126; // a temperature of 0

/** Numbers as textgen reads them, without the underscores that it takes between digits. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, WHOLE = /^[+-]?\d+(\.0+)?$/;

/** Option, default, least and largest number of each sampler, and what it does to logits, in place. */
const SAMPLERS = {
  __proto__: null, // names are looked up that come from outside
  'repetition-penalty': {
    option: 'penalty', value: 1.1, least: 1e-3, most: 1e3, usesHistory: true,
    apply(logits, penalty, seen) {
      for (let id = 0; id < logits.length; id++) if (seen[id]) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    },
  },
  temperature: {
    option: 'temperature', value: 1, least: 0, most: 1e6,
    apply(logits, temperature) {
      if (temperature === 1) return;
      const best = largest(logits), divisor = Math.max(temperature, SMALLEST);
      for (let id = 0; id < logits.length; id++) logits[id] = round(logits[id] - best) / divisor;
    },
  },
  'top-k': {
    option: 'k', value: 40, least: 1, most: Infinity, isWhole: true,
    apply(logits, k) {
      if (k < logits.length) for (const id of ranked(logits).subarray(k)) logits[id] = -Infinity;
    },
  },
  'top-p': {
    option: 'p', value: 0.9, least: 1e-6, most: 1,
    apply(logits, p) {
      if (p >= 1) return;
      const order = ranked(logits), best = logits[order[0]], before = new Float32Array(order.length);
      let sum = 0;
      order.forEach((id, rank) => {
        before[rank] = sum;
        sum = round(sum + round(Math.exp(round(logits[id] - best))));
      });
      const least = round(p * sum);
      order.forEach((id, rank) => {
        if (!(before[rank] < least)) logits[id] = -Infinity;
      });
    },
  },
  'min-p': {
    option: 'p', value: 0.05, least: 0, most: 1,
    apply(logits, p) {
      const least = round(largest(logits) + round(Math.log(p)));
      for (let id = 0; id < logits.length; id++) if (logits[id] < least) logits[id] = -Infinity;
    },
  },
};

const SELECTORS = {
  __proto__: null, // names are looked up that come from outside
  greedy: logits => logits.indexOf(largest(logits)),
  // The first id whose cumulative weight passes u times the whole; the sums are in double precision.
  multinomial(logits, u) {
    const best = largest(logits), sums = new Float64Array(logits.length);
    let total = 0, id = 0;
    for (let i = 0; i < logits.length; i++) sums[i] = total += round(Math.exp(round(logits[i] - best)));
    const threshold = u * total;
    while (sums[id] <= threshold) id++;
    return id;
  },
};

/** The order in which single settings are inserted into a chain that lacks them. */
const ORDER = Object.keys(SAMPLERS);

function largest(logits) {
  let best = -Infinity;
  for (let id = 0; id < logits.length; id++) if (logits[id] > best) best = logits[id];
  return best;
}

/** The ids by falling logits, of equal ones by rising ids. */
function ranked(logits) {
  // A native sort of numbers: the bits of a logit as a whole number that falls with it, then the id.
  const bits = new Int32Array(Float32Array.from(logits, logit => logit + 0).buffer), keys = new Float64Array(logits.length);
  for (let id = 0; id < keys.length; id++) keys[id] = (bits[id] < 0 ? 2 ** 31 + (bits[id] & 0x7fffffff) : 2 ** 31 - bits[id]) * 2 ** 20 + id;
  return Uint32Array.from(keys.sort(), key => key % 2 ** 20);
}

/** A chain at work on one text. */
export class Chain {
  #samplers;
  #select;
  #seen;
  #forbidden;

  /** @param {string} text @param {number} vocabSize @param {number[]} forbidden ids that are never drawn */
  constructor(text, vocabSize, forbidden) {
    const links = readLinks(text), last = links.pop();
    this.#select = SELECTORS[last.name];
    if (!this.#select) throw new TextgenError(`the sampler chain '${text}' must end in a selector: append '| multinomial' or '| greedy'`);
    if (last.arguments.length) throw new TextgenError(`${last.name} takes no number`);
    this.#samplers = links.map(readSampler);
    this.#seen = this.#samplers.some(({kind}) => kind.usesHistory) ? new Uint8Array(vocabSize) : null;
    this.#forbidden = forbidden;
  }

  /** Mark ids as seen. */
  note(ids) {
    if (this.#seen) for (const id of ids) this.#seen[id] = 1;
  }

  /** Draw an id, by a number in [0, 1); changes the logits. */
  draw(logits, u) {
    for (const id of this.#forbidden) logits[id] = -Infinity;
    for (const {kind, number} of this.#samplers) kind.apply(logits, number, this.#seen);
    const id = this.#select(logits, u);
    this.note([id]);
    return id;
  }
}

/** The links of a chain: names and arguments. */
function readLinks(text) {
  return text.split('|').map(part => {
    const match = /^([a-z][a-z0-9-]*)\s*(?:\(([^()]*)\))?$/.exec(part.trim());
    if (!match) throw new TextgenError(`'${part.trim()}' in the sampler chain '${text}' is not of the form name or name(value), as in 'temperature(0.8) | top-k(40) | multinomial'`);
    const given = (match[2] ?? '').trim();
    return {name: match[1], arguments: given ? given.split(',').map(each => each.trim()) : []};
  });
}

function readSampler({name, arguments: given}) {
  if (SELECTORS[name]) throw new TextgenError(`${name} is a selector and can only stand at the end of a sampler chain`);
  const kind = SAMPLERS[name];
  if (!kind) throw new TextgenError(`there is no sampler '${name}'; there are: ${[...ORDER, ...Object.keys(SELECTORS)].join(', ')}`);
  if (given.length > 1) throw new TextgenError(`${name} takes one number`);
  const [option, value] = given[0]?.includes('=') ? given[0].split('=').map(each => each.trim()) : [kind.option, given[0]];
  const digits = value?.replace(/(?<=\d)_(?=\d)/g, '') ?? String(kind.value), number = Number(digits);
  if (option !== kind.option || !(kind.isWhole ? WHOLE : NUMBER).test(digits) || !(number >= kind.least && number <= kind.most)) {
    const bounds = kind.most === Infinity ? `from ${kind.least}` : `from ${kind.least} to ${kind.most}`;
    throw new TextgenError(`${name}(${given[0]}): ${kind.option} must be a ${kind.isWhole ? 'whole ' : ''}number ${bounds}`);
  }
  return {kind, number: round(number)};
}

/** A chain with single numbers set: {'temperature': 0.5, 'top-k': 40}; what is undefined stays. */
export function editChain(text, numbers) {
  const links = readLinks(text);
  for (const [name, number] of Object.entries(numbers)) {
    if (number === undefined || number === null) continue;
    const link = {name, arguments: [String(number)]}, place = links.findIndex(each => each.name === name);
    if (place >= 0) links[place] = link;
    else {
      const later = ORDER.slice(ORDER.indexOf(name)), at = links.findIndex(each => later.includes(each.name));
      links.splice(at < 0 ? links.length - 1 : at, 0, link);
    }
    // A temperature asks for sampling.
    if (name === 'temperature' && links.at(-1).name === 'greedy') links[links.length - 1] = {name: 'multinomial', arguments: []};
  }
  return links.map(({name, arguments: given}) => (given.length ? `${name}(${given.join(', ')})` : name)).join(' | ');
}
