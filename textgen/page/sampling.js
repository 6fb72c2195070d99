// Sampler chains as they are written, and what they make of probabilities, as textgen's samplers do.

/** Where a sampler that a chain lacks is inserted. */
const ORDER = ['repetition-penalty', 'temperature', 'top-k', 'top-p', 'min-p'];

/** Bundled samplers: the value without an argument. */
const DEFAULTS = {'repetition-penalty': 1.1, temperature: 1, 'top-k': 40, 'top-p': 0.9, 'min-p': 0.05};

/** The smallest normal float32: what a temperature of 0 divides by. */
const SMALLEST = 2 ** -126;

/**
 * Parse a written chain such as 'temperature(0.8) | top-k(40) | multinomial'.
 * @returns {{name: string, value: number | undefined}[]} a link each; no value for other samplers than the bundled ones.
 */
export function readChain(text) {
  return text.split('|').map(part => {
    const [, name, argument] = /^\s*([a-z0-9-]+)\s*(?:\(([^()]*)\))?\s*$/.exec(part) ?? [null, part.trim()];
    const given = argument?.split('=').at(-1).trim();
    return {name, value: name in DEFAULTS ? (given ? Number(given) : DEFAULTS[name]) : undefined};
  });
}

/** A chain as it is written; of bundled samplers, since others may have an argument. */
export function writeChain(links) {
  return links.map(({name, value}) => (value === undefined ? name : `${name}(${value})`)).join(' | ');
}

/** Set single samplers of a chain, as `textgen sample --temperature 0.5` does: inserted if the chain lacks them. */
export function editChain(links, values) {
  const edited = links.map(link => ({...link}));
  for (const [name, value] of Object.entries(values)) {
    const found = edited.find(link => link.name === name);
    if (found) {
      found.value = value;
    } else {
      const later = ORDER.slice(ORDER.indexOf(name));
      const at = edited.findIndex(link => later.includes(link.name));
      edited.splice(at < 0 ? edited.length - 1 : at, 0, {name, value});
    }
  }
  if ('temperature' in values && edited.at(-1).name === 'greedy') edited.at(-1).name = 'multinomial';
  return edited;
}

/** The names of the links that probabilities alone do not tell the effect of. */
export function unknownLinks(links) {
  return links.filter(({name, value}) => (
    name === 'repetition-penalty' ? value !== 1 : !(name in DEFAULTS || name === 'multinomial' || name === 'greedy')
  )).map(link => link.name);
}

/**
 * The probabilities with which a chain draws.
 * @param {number[]} logProbabilities at temperature 1, in natural logarithms; of equal ones, the lower id first.
 * @param {{name: string, value: number}[]} links samplers that are not known change nothing.
 * @returns {number[]} in the order of `logProbabilities`; they sum to 1.
 */
export function draw(logProbabilities, links) {
  let logits = logProbabilities;
  for (const {name, value} of links) logits = TRANSFORMS[name]?.(logits, value) ?? logits;
  const best = Math.max(...logits);
  const weights = logits.map(logit => Math.exp(logit - best));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map(weight => weight / total);
}

const TRANSFORMS = {
  temperature(logits, value) {
    const best = Math.max(...logits), divisor = Math.max(value, SMALLEST);
    return logits.map(logit => (logit - best) / divisor);
  },
  'top-k': (logits, value) => keep(logits, ranked(logits).slice(0, value)),
  'top-p'(logits, value) {
    if (value >= 1) return logits;
    const order = ranked(logits), best = logits[order[0]];
    const weights = order.map(index => Math.exp(logits[index] - best));
    const share = value * weights.reduce((sum, weight) => sum + weight, 0);
    let before = 0;
    return keep(logits, order.filter((_, rank) => {
      const kept = before < share;
      before += weights[rank];
      return kept;
    }));
  },
  'min-p'(logits, value) {
    const smallest = Math.max(...logits) + Math.log(value);
    return logits.map(logit => (logit >= smallest ? logit : -Infinity));
  },
  greedy: logits => keep(logits, ranked(logits).slice(0, 1)),
};

/** Indices by falling logits; of equal ones, the first comes first. */
function ranked(logits) {
  return logits.map((_, index) => index).sort((a, b) => logits[b] - logits[a] || a - b);
}

function keep(logits, indices) {
  const kept = new Set(indices);
  return logits.map((logit, index) => (kept.has(index) ? logit : -Infinity));
}
