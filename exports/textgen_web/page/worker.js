// The worker of a page without a server: what the page asks of textgen.js, away from the thread that the page needs.

import {load} from '../textgen.js';

/** The most tokens whose states are shown. */
const MOST_STATES = 96;

let generator;
const running = new Map(); // AbortControllers by number of the call

const METHODS = {
  async open(source) {
    generator = await load(source);
    return generator.about;
  },

  check() {
    const {passed, cases} = generator.check();
    return {passed, cases: cases.length};
  },

  /** Several texts are written side by side: each gives way to the others as it gives way to messages. */
  async generate({n = 1, model, run, ...settings}, signal, onText) {
    const ended = await Promise.all(Array.from({length: n}, async (_, row) => {
      const pieces = generator.generate({...settings, row, signal});
      for (;;) {
        const {value, done} = await pieces.next();
        if (done) return value;
        onText(row, value);
      }
    }));
    const reasons = ended.map(({finishReason}) => (finishReason === 'eos' ? 'end' : finishReason));
    return {reasons, labels: ended.map(({label}) => label), unknown: ended[0].unknown};
  },

  async next({prompt, label}, signal) {
    const found = await generator.probabilities(prompt, {label, signal});
    return found.filter(({probability}) => probability > 0)
      .map(({text, probability, isEnd}) => ({text, logProbability: Math.log(probability), isEnd}));
  },

  async score({prompt, label}, signal) {
    return {tokens: await generator.score(prompt, {label, signal}), unknown: generator.unknown(prompt)};
  },

  async states({prompt, label}, signal) {
    const found = (await generator.activations(prompt, {label, signal})).slice(-MOST_STATES);
    const layers = found.length ? found[0].layers.map((_, layer) => join(found.map(each => each.layers[layer]))) : [];
    return {texts: found.map(({text}) => text), layers};
  },
};

function join(arrays) {
  const joined = new Float32Array(arrays.length * arrays[0].length);
  arrays.forEach((array, index) => joined.set(array, index * array.length));
  return joined;
}

onmessage = async ({data: {number, method, argument}}) => {
  if (method === 'stop') {
    running.get(number)?.abort();
    return;
  }
  const stopper = new AbortController();
  running.set(number, stopper);
  try {
    const value = await METHODS[method](argument, stopper.signal, (...text) => postMessage({number, text}));
    postMessage({number, value});
  } catch (error) {
    const isUnknown = error.name === 'UnknownCharacterError'; // the rest of whose message is for programs
    postMessage({number, error: isUnknown ? `${error.message.split(';')[0]}. Remove it from the prompt.` : error.message});
  }
  running.delete(number);
};
