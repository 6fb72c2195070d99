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
  const loop = await openLoop(folder, module);
  return async (characters = length) => {
    await loop([1], Array.from({length: characters}, () => [Math.random()]));
    return characters;
  };
}

/** Runs generate.onnx: from the last ids of texts, and the random numbers of each step, to the ids of each step. */
async function openLoop(folder, module) {
  const ort = module.default ?? module;
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const about = await (await read(new URL('textgen.json', folder))).json();
  const graph = new Uint8Array(await (await read(new URL('generate.onnx', folder))).arrayBuffer());
  const session = await ort.InferenceSession.create(graph, {intraOpNumThreads: 1, interOpNumThreads: 1});
  const spec = about.state_spec;
  return async (first, uniforms) => {
    const batch = first.length, tensor = (kind, numbers, ...shape) => new ort.Tensor(kind, numbers, shape);
    const feeds = {last_ids: tensor('int64', BigInt64Array.from(first, BigInt), batch)};
    for (const [name, value] of Object.entries(about.export.parameters)) {
      feeds[name] = tensor('float32', new Float32Array(batch).fill(value), batch, 1);
    }
    for (const {name, shape: [size]} of spec) feeds[`past.${name}`] = tensor('float32', new Float32Array(batch * size), batch, size);
    const written = [];
    for (let start = 0; start < uniforms.length; start += CHUNK) {
      const part = uniforms.slice(start, start + CHUNK);
      const found = await session.run({...feeds, uniforms: tensor('float32', Float32Array.from(part.flat()), part.length, batch)});
      for (let i = 0; i < part.length; i++) written.push(Array.from(found.ids.data.subarray(i * batch, (i + 1) * batch), Number));
      feeds.last_ids = tensor('int64', found.ids.data.slice(-batch), batch);
      for (const {name} of spec) feeds[`past.${name}`] = found[`present.${name}`];
    }
    return written;
  };
}

/**
 * The ids of texts that continue one character, with seed 0.
 *
 * @param {{folder: string, graphs: string, library: string, prompt: string, last: number, first: number, uniforms: number[][]}} order
 *   last: the id of the prompt; first: the number of the first text; uniforms: those of each step, of all texts
 * @returns {Promise<[number[][], number[][]]>} those of textgen.js, and those of ONNX Runtime
 */
export async function writeBoth({folder, graphs, library, prompt, last, first, uniforms}) {
  const length = uniforms.length, texts = uniforms[0].length;
  const {load} = await import(new URL('textgen.js', folder)), generator = await load(new URL(folder)), ours = [];
  for (let text = 0; text < texts; text++) {
    const pieces = generator.generate({prompt, length, seed: 0, row: first + text, ignoreEos: true});
    let next;
    do next = await pieces.next(); while (!next.done);
    ours.push(next.value.ids);
  }
  globalThis.loop ??= await openLoop(graphs, await import(library));
  const written = await globalThis.loop(Array(texts).fill(last), uniforms);
  return [ours, Array.from({length: texts}, (_, text) => written.map(step => step[text]))];
}

async function read(address) {
  if (address.protocol !== 'file:') return fetch(address);
  const {readFile} = await import('node:fs/promises');
  return new Response(await readFile(address));
}
