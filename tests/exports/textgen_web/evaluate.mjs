// Evaluates expressions about an export, which it reads from stdin as {folder, expressions}; writes what comes of each:
// {value} or {error, kind}. They have the names of textgen.js and those below.

import {readFileSync} from 'node:fs';
import {pathToFileURL} from 'node:url';

const {folder, expressions} = JSON.parse(readFileSync(0, 'utf8')), url = pathToFileURL(`${folder}/`);
const {load, TextgenError} = await import(new URL('textgen.js', url));
const bytes = readFileSync(new URL('model.safetensors', url)), weights = Uint8Array.from(bytes).buffer;
const read = () => JSON.parse(readFileSync(new URL('model.json', url), 'utf8'));
const generator = await load(url);

/** The whole of a text. */
async function written(options, by = generator) {
  for (const pieces = by.generate(options); ;) {
    const {value, done} = await pieces.next();
    if (done) return value;
  }
}

/** The text after a state that something was done to. */
async function after(change) {
  const {state} = await written({prompt: 't', length: 3, seed: 1});
  change(state);
  return (await written({state, length: 3})).text;
}

/** What a model writes that something was done to. */
async function changed(change, content = weights) {
  const model = read();
  change(model);
  return (await written({length: 3}, await load({model, weights: content}))).text;
}

/** The bytes of the weights, with a bit of one of the last ones turned. */
function flipped(fromEnd) {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - fromEnd] ^= 64;
  return copy;
}

const results = [];
for (const expression of expressions) {
  try {
    results.push({value: (await eval(`(async () => (${expression}))()`)) ?? null});
  } catch (error) {
    results.push({error: error.message, kind: error.name, isOurs: error instanceof TextgenError});
  }
}
process.stdout.write(JSON.stringify(results));
