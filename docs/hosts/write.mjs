// Writes with an ONNX export of textgen, by onnxruntime-node or onnxruntime-web; node.mjs and page.html use it.

const MASK = (1n << 64n) - 1n;

/** The words of Philox4x64-10 with the key (seed, row), from a step on; all are BigInt. */
function* words(seed, row, step = 0n) {
  for (let counter = step / 4n + 1n, skip = Number(step % 4n); ; counter++, skip = 0) {
    let x = [counter & MASK, 0n, 0n, 0n], key = [seed, row];
    for (let round = 0; round < 10; round++) {
      const left = 0xD2E7470EE14C6C93n * x[0], right = 0xCA5A826395121157n * x[2];
      x = [(right >> 64n) ^ x[1] ^ key[0], right & MASK, (left >> 64n) ^ x[3] ^ key[1], left & MASK];
      key = [(key[0] + 0x9E3779B97F4A7C15n) & MASK, (key[1] + 0xBB67AE8584CAA73Bn) & MASK];
    }
    yield* x.slice(skip);
  }
}

const uniform = word => Number(word >> 40n) / 2 ** 24;

/** Opens an export. `ort` is the module of ONNX Runtime; `read` returns the bytes of a file of the export, by name. */
export async function open(ort, read) {
  const about = JSON.parse(new TextDecoder().decode(await read('textgen.json'))), {host, parameters} = about.export;
  if (!host) throw new Error('the export says nothing to hosts, since an older textgen wrote it: export the run again');
  if (!host.is_characters) throw new Error('this host needs an export that has an id for each character');
  const special = new Set([...Object.values(host.special_ids), ...host.labels.map(([, id]) => id)]);
  const idOf = new Map(host.texts.map((text, id) => [text, id]).filter(([, id]) => !special.has(id)));
  ort.env.wasm.numThreads = 1;  // onnxruntime-web's threads cost more than they save on such graphs
  const sessions = {};
  for (const name of ['step', 'generate']) {
    sessions[name] = await ort.InferenceSession.create(await read(`${name}.onnx`));
  }

  const ids = (values, shape) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), shape);
  const floats = (values, shape) => new ort.Tensor('float32', Float32Array.from(values), shape);

  function encode(prompt) {
    if (host.prompt.drops_byte_order_mark) prompt = prompt.replace(/^\ufeff/, '');
    if (host.prompt.converts_line_ends) prompt = prompt.replace(/\r\n?/g, '\n');
    if (host.prompt.normalization) prompt = prompt.normalize(host.prompt.normalization);
    const found = Array.from(prompt, character => {
      const id = idOf.get(character) ?? (host.on_unknown === 'unk' ? host.special_ids.unknown : undefined);
      if (id === undefined && host.on_unknown === 'error') throw new Error(`${character} is not in the vocabulary`);
      return id;
    }).filter(id => id !== undefined);
    if (prompt && !found.length) throw new Error('nothing of the prompt is in the vocabulary');
    return [prompt, found];
  }

  /** Yields the text of a prompt, a label (if there are labels) and a seed, in pieces of `piece` ids. */
  async function* write({prompt = '', label, length, seed, row = 0, piece = 64}) {
    const numbers = words(BigInt(seed), BigInt(row)), first = uniform(numbers.next().value);
    let [text, read] = encode(prompt);
    if (label !== undefined) read = [host.labels.find(([name]) => name === label)[1], ...read];
    else if (host.labels.length || !read.length) {
      const total = host.starts.reduce((sum, [, count]) => sum + count, 0);
      let sum = 0;
      const [start] = host.starts.find(([, count]) => (sum += count) > first * total);
      read = [start, ...read];
      text += host.texts[start];
    }
    yield text;

    const feeds = {ids: ids(read, [1, read.length]), lengths: ids([read.length - 1], [1])};
    for (const {name, shape, dtype, initial} of about.state_spec) {
      const kind = {float32: Float32Array, int32: Int32Array}[dtype], size = shape.reduce((a, b) => a * b, 1);
      feeds[`past.${name}`] = new ort.Tensor(dtype, new kind(size).fill(initial), [1, ...shape]);
    }
    let found = await sessions.step.run(feeds);
    let last = read.at(-1), {length: size} = host.texts;
    let seen = new ort.Tensor('bool', host.texts.map((_, id) => read.includes(id)), [1, size]);
    for (let left = length; left > 0; left -= piece) {
      const steps = Math.min(piece, left), drawn = Array.from({length: steps}, () => uniform(numbers.next().value));
      const inputs = {last_ids: ids([last], [1]), uniforms: floats(drawn, [steps, 1])};
      if (sessions.generate.inputNames.includes('seen')) inputs.seen = seen;
      for (const [name, value] of Object.entries(parameters)) inputs[name] = floats([value], [1, 1]);
      for (const {name} of about.state_spec) inputs[`past.${name}`] = found[`present.${name}`];
      found = await sessions.generate.run(inputs);
      seen = found['present.seen'];
      const written = Array.from(found.ids.data, Number), end = written.indexOf(host.special_ids.end);
      last = written.at(-1);
      yield written.slice(0, end < 0 ? steps : end).map(id => host.texts[id]).join('');
      if (end >= 0) return;
    }
  }

  /** Checks the random numbers; returns the largest difference of the graphs' outputs from the golden vectors. */
  async function check() {
    for (const {seed, row, step, words: expected} of host.random) {
      const own = words(BigInt(seed), BigInt(row), BigInt(step));
      for (const word of expected) {
        if (own.next().value !== BigInt(`0x${word}`)) throw new Error('the random numbers are wrong');
      }
    }
    let largest = 0;
    const golden = tensors(await read('golden.safetensors'));
    for (const [name, session] of Object.entries(sessions)) {
      const feeds = Object.fromEntries(session.inputNames.map(input => [input, golden[`${name}.${input}`]]));
      for (const [output, found] of Object.entries(await session.run(feeds))) {
        golden[`${name}.${output}`]?.data.forEach((value, i) => {
          const isPadding = output === 'logits' && value === 0;
          if (!isPadding) largest = Math.max(largest, Math.abs(Number(value) - Number(found.data[i])));
        });
      }
    }
    return largest;
  }

  /** The tensors of a file in the format safetensors. */
  function tensors(file) {
    const kinds = {F32: Float32Array, I64: BigInt64Array, I32: Int32Array, BOOL: Uint8Array};
    const types = {F32: 'float32', I64: 'int64', I32: 'int32', BOOL: 'bool'};
    const bytes = Uint8Array.from(file), start = 8 + new DataView(bytes.buffer).getUint32(0, true);
    const header = Object.entries(JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))));
    return Object.fromEntries(header.map(([name, {dtype, shape, data_offsets: [from, to]}]) => {
      const values = new kinds[dtype](bytes.slice(start + from, start + to).buffer);
      return [name, new ort.Tensor(types[dtype], values, shape)];
    }));
  }

  return {about, write, check};
}
