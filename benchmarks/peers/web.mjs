// What writes in Node and in Chromium: textgen.js with an export for the web, or ONNX Runtime with an ONNX export.

/** Characters per call of ONNX Runtime: as many as textgen's own runtime writes at once. */
const CHUNK = 64;

/**
 * Opens a model.
 *
 * @param {{engine: 'textgen' | 'ort', folder: string, prompt: string, length: number, library?: string}} options
 *   folder: the URL of an export; library: that of ONNX Runtime's module
 * @returns {Promise<(length?: number) => Promise<number>>} writes a text; returns the number of characters
 */
export async function prepare({engine, folder, prompt, length, library}) {
  return engine === 'textgen' ? ours(folder, prompt, length) : theirs(folder, length, await import(library));
}

async function ours(folder, prompt, length) {
  const {load} = await import(new URL('textgen.js', folder));
  const generator = await load(new URL(folder));
  return async (characters = length) => {
    for await (const _ of generator.generate({prompt, length: characters, seed: 0, ignoreEos: true}));
    return characters;
  };
}

/** The loop in generate.onnx alone, without reading a prompt, decoding, or textgen's random numbers. */
async function theirs(folder, length, module) {
  const ort = module.default ?? module;
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const about = await (await read(new URL('textgen.json', folder))).json();
  const graph = new Uint8Array(await (await read(new URL('generate.onnx', folder))).arrayBuffer());
  const session = await ort.InferenceSession.create(graph, {intraOpNumThreads: 1, interOpNumThreads: 1});
  const numbers = Object.fromEntries(
    Object.entries(about.export.parameters).map(([name, value]) => [name, new ort.Tensor('float32', Float32Array.of(value), [1, 1])]));
  return async (characters = length) => {
    let past = Object.fromEntries(about.state_spec.map(({name, shape}) => [
      `past.${name}`, new ort.Tensor('float32', new Float32Array(shape[0]), [1, shape[0]])]));
    for (let last = 1n, written = 0; written < characters; written += CHUNK) {
      const steps = Math.min(CHUNK, characters - written), drawn = Float32Array.from({length: steps}, () => Math.random());
      const found = await session.run({
        last_ids: new ort.Tensor('int64', BigInt64Array.of(last), [1]), uniforms: new ort.Tensor('float32', drawn, [steps, 1]), ...numbers, ...past});
      last = found.ids.data[steps - 1];
      past = Object.fromEntries(about.state_spec.map(({name}) => [`past.${name}`, found[`present.${name}`]]));
    }
    return characters;
  };
}

async function read(address) {
  if (address.protocol !== 'file:') return fetch(address);
  const {readFile} = await import('node:fs/promises');
  return new Response(await readFile(address));
}
