// textgen.js: writes text with a model that `textgen export --to web` has exported; no dependencies.
//
//   import {load} from './textgen.js';
//   const generator = await load(new URL('./', import.meta.url));
//   for await (const piece of generator.generate({prompt: 'ROMEO:', length: 400, seed: 7})) console.log(piece);
//
// Texts are those of `textgen sample`, given the same prompt, options and seed. textgen.d.ts describes all of it.

import {aText, check, damaged, LOAD, must, READ, readOptions, readSeed, stateOf, TextgenError, whole, WRITE, writeSeed} from './checks.js';
import {checkModel} from './model.js';
import {copyState, Network} from './network.js';
import {Uniforms} from './random.js';
import {Row} from './row.js';
import {Chain, editChain} from './sampling.js';
import {readTensors} from './tensors.js';
import {countOf, makeTokenizer} from './tokenizers.js';

/** Milliseconds after which others get their turn. */
const SLICE = 12;

/** How far logits may be from the golden ones, by precision; another id changes them by far more. */
const TOLERANCE = {fp32: 1e-3, fp16: 1e-3, int8: 0.1};

/**
 * Open a model.
 *
 * @param source the URL of the folder, or {model, weights}: what model.json has, and the bytes of model.safetensors
 * @param {{kernel?: 'simd' | 'scalar', signal?: AbortSignal}} [options]
 */
export async function load(source, options) {
  const {kernel, signal} = readOptions(LOAD, options), isAddress = typeof source === 'string' || source instanceof URL;
  must('a URL, or {model, weights}', () => isAddress || (source?.model && source.weights))(source, 'source');
  let {model, weights} = isAddress ? await fetchModel(source, signal) : source;
  if (ArrayBuffer.isView(weights)) weights = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength);
  must('an ArrayBuffer or a Uint8Array', value => value instanceof ArrayBuffer)(weights, 'weights');
  await checkModel(model, weights);
  try {
    return new TextGenerator(model, weights, kernel);
  } catch (error) {
    throw error instanceof TextgenError ? error : damaged('the model', error.message);
  }
}

async function fetchModel(source, signal) {
  let folder;
  try {
    folder = new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new TextgenError(`${source} is not a URL; give one, as in new URL('./', import.meta.url)`);
  }
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  const [model, weights] = await Promise.all(['model.json', 'model.safetensors'].map(name => readFile(new URL(name, folder), signal)));
  try {
    return {model: JSON.parse(new TextDecoder().decode(model)), weights};
  } catch (error) {
    throw damaged('model.json', error.message);
  }
}

async function readFile(address, signal) {
  try {
    if (address.protocol === 'file:' && globalThis.process?.versions?.node) {
      const {readFile: read} = await import('node:fs/promises');
      return await read(address, {signal});
    }
    const answer = await fetch(address, {signal});
    if (!answer.ok) throw new TextgenError(`${answer.status} ${answer.statusText}`);
    return await answer.arrayBuffer();
  } catch (error) {
    signal?.throwIfAborted();
    throw new TextgenError(`${address} cannot be read: ${error.message}`);
  }
}

export class TextGenerator {
  /** What the model is; see textgen.d.ts. */
  about;
  #model;
  #network;
  #tokenizer;
  #endId;
  #forbidden;
  #labels;
  #reading;
  #writing;

  constructor(model, weights, kernel) {
    const {host, cell, units, vocab_size: vocabSize} = model;
    this.#model = model;
    this.#network = new Network({cell, units, vocabSize}, readTensors(weights), kernel);
    this.#tokenizer = makeTokenizer(model);
    this.#endId = host.special_ids.end;
    this.#forbidden = new Set(host.forbidden_ids);
    this.#labels = new Map(host.labels);
    const state = stateOf(model.sha256, this.#network);
    [this.#reading, this.#writing] = [{...READ, state}, {...WRITE, state}];
    const {name, run, precision, sampler: chain, length, prompt, stop, card, licence: license} = model;
    this.about = Object.freeze({
      name, run, cell, units, vocabSize, precision, kernel: this.#network.kernel, chain, length, prompt, stop,
      labels: [...this.#labels.keys()], card, license,
    });
  }

  /** Compare random numbers, logits and drawn ids with those that textgen computed for this model. */
  check() {
    const {golden, host: {random}, sampler, precision, vocab_size: vocabSize} = this.#model;
    const cases = [];
    for (const {seed, row, step, uniforms} of random) {
      const numbers = new Uniforms(BigInt(seed), BigInt(row));
      cases.push({name: `random numbers of seed ${seed}`, passed: uniforms.every((each, i) => numbers.at(Number(step) + i) === each)});
    }
    golden.forEach(({seed, ids, likeliest, written}) => {
      const network = this.#network, state = network.start(), numbers = new Uniforms(BigInt(seed), 0n);
      ids.forEach(id => network.read(id, state));
      let logits = network.logits(state);
      const isNear = likeliest.every(([id, logit]) => Math.abs(logits[id] - logit) <= TOLERANCE[precision]);
      const chain = new Chain(sampler, vocabSize, this.#model.host.forbidden_ids);
      chain.note(ids);
      const isSame = written.every((id, i) => {
        const drawn = chain.draw(logits, numbers.at(i + 1));
        network.read(id, state);
        logits = network.logits(state);
        return drawn === id;
      });
      cases.push({name: `logits after ids ${ids.join(' ')}`, passed: isNear}, {name: `ids drawn with seed ${seed}`, passed: isSame});
    });
    return {passed: cases.every(each => each.passed), cases};
  }

  /** Write a text: yields pieces of it as they come, and returns how it ended. */
  async *generate(wishes) {
    const options = readOptions(this.#writing, wishes), {state: before, signal, ignoreEos = false} = options, network = this.#network;
    const length = options.length ?? this.about.length;
    const stop = [options.stop ?? this.about.stop].flat().map(text => this.#asInTraining(text));
    const seed = readSeed(options.seed ?? before?.seed ?? Math.floor(Math.random() * 2 ** 32), 'seed');
    const rowSeed = readSeed(options.row ?? before?.row ?? 0, 'row');
    const numbers = new Uniforms(seed, rowSeed);
    const chain = new Chain(this.#chainText(options), this.about.vocabSize, this.#model.host.forbidden_ids);
    const {ids, unknown, isDrawn} = this.#firstIds(options.prompt ?? (before ? '' : this.about.prompt), options, numbers);
    if (before) check(whole(0, countOf(this.#tokenizer.decoder().feed(before.tail))), before.unread, 'state.unread');
    const row = new Row(this.#tokenizer, ids, {length, stop, endId: ignoreEos ? null : this.#endId, isDrawn, before});
    chain.note(before?.seen ?? []);
    chain.note(ids);

    const state = await this.#read(ids.slice(0, -1), before, signal); // before the last id
    const pause = new Pause(), firstStep = 1 + (before?.step ?? 0);
    for (let last = ids.at(-1), isFirst = true; !row.finishReason && !signal?.aborted;) {
      network.read(last, state);
      last = chain.draw(network.logits(state), numbers.at(firstStep + row.steps));
      row.extend(last);
      if (!isFirst && !pause.isDue) continue;
      const piece = row.take();
      if (piece) yield piece;
      isFirst &&= !piece;
      await pause.take();
    }
    if (!row.finishReason) row.cancel();
    const rest = row.take();
    if (rest) yield rest;
    const seen = [...new Set([...(before?.seen ?? []), ...ids, ...row.ids])];
    return {
      text: row.text, ids: row.ids, finishReason: row.finishReason, stopText: row.stopText, unknown,
      label: this.#labelOf([...(before?.seen ?? []), ids[0]]), seed: writeSeed(seed), row: writeSeed(rowSeed),
      state: {
        model: this.#model.sha256, network: state, tail: row.tail, unread: row.unread, step: firstStep - 1 + row.steps, seen,
        seed: writeSeed(seed), row: writeSeed(rowSeed),
      },
    };
  }

  /** What may follow a text, likeliest first; of an empty one, what texts begin with. */
  async probabilities(text = '', options) {
    const {label, state, signal} = readOptions(this.#reading, options);
    const {ids} = this.#encoded(text, state ? {label, state} : {label: label ?? this.#usualLabel});
    let found;
    if (ids.length) {
      const after = await this.#read(ids, state, signal);
      found = [...this.#network.logits(after)].map((logit, id) => [id, logit]).filter(([id]) => !this.#forbidden.has(id));
      const best = Math.max(...found.map(([, logit]) => logit));
      found = found.map(([id, logit]) => [id, Math.exp(logit - best)]);
    } else found = this.#model.host.starts;
    const total = found.reduce((sum, [, weight]) => sum + weight, 0);
    return found.map(([id, weight]) => ({id, text: this.#textOf(id), probability: weight / total, isEnd: id === this.#endId}))
      .sort((a, b) => b.probability - a.probability || a.id - b.id);
  }

  /** How likely each token of a text is, given those before it (nats); null for one before which there is nothing. */
  async score(text, options) {
    const {label = this.#usualLabel, signal} = readOptions(READ, options);
    const {ids} = this.#encoded(text, {label}), first = label === undefined ? 0 : 1, decoder = this.#tokenizer.decoder();
    const found = ids.slice(first).map(id => ({text: decoder.feed([id]), logProbability: null}));
    await this.#read(ids, undefined, signal, (place, state) => {
      const next = found[place + 1 - first];
      if (next) next.logProbability = logProbability(this.#network.logits(state), ids[place + 1]);
    });
    if (found.length) found.at(-1).text += decoder.flush();
    return found;
  }

  /** What the vocabulary lacks of a text, and what becomes of it. */
  unknown(text) {
    return this.#tokenizer.encode(this.#asInTraining(text)).unknown;
  }

  /** The outputs of each layer after each token of a text. */
  async activations(text, options) {
    const {label = this.#usualLabel, signal} = readOptions(READ, options);
    const {ids} = this.#encoded(text, {label}), first = label === undefined ? 0 : 1, decoder = this.#tokenizer.decoder();
    const found = [];
    await this.#read(ids, undefined, signal, (place, state) => {
      if (place >= first) found.push({text: decoder.feed([ids[place]]), layers: state.layers.map(([h]) => h.slice())});
    });
    if (found.length) found.at(-1).text += decoder.flush();
    return found;
  }

  /** The state after ids; calls a function after each, with its place. Throws if it is aborted. */
  async #read(ids, before, signal, onRead = () => {}) {
    const pause = new Pause(), state = before ? copyState(before.network) : this.#network.start();
    for (let place = 0; place < ids.length; place++) {
      this.#network.read(ids[place], state);
      onRead(place, state);
      if (!pause.isDue) continue;
      await pause.take();
      signal?.throwIfAborted();
    }
    return state;
  }

  /** The ids that a row reads before it writes: its prompt, or a drawn first id. */
  #firstIds(prompt, options, numbers) {
    const {ids, unknown} = this.#encoded(prompt, {...options, canChoose: true}), {starts} = this.#model.host;
    const isOfLabels = options.label === undefined && !options.state && starts.some(([id]) => this.#isLabel(id));
    if (ids.length && !isOfLabels) return {ids, unknown, isDrawn: false};
    if (!starts.length) throw new TextgenError('this model does not know how texts begin; give a prompt');
    const aim = numbers.at(0) * starts.reduce((sum, [, count]) => sum + count, 0);
    let sum = 0;
    const [first] = starts.find(([, count]) => (sum += count) > aim);
    return {ids: [first, ...ids], unknown, isDrawn: !isOfLabels};
  }

  /** The ids of a text, after the last id of the text that it continues, or after its label. */
  #encoded(text, {label, state, onUnknown, canChoose}) {
    const {ids, unknown} = this.#tokenizer.encode(this.#asInTraining(text), onUnknown, canChoose);
    if (!ids.length && unknown.length) throw new TextgenError('nothing of the text is in the vocabulary');
    if (state) {
      if (label !== undefined) throw new TextgenError('a text that is continued has the label that it began with; leave the label out');
      return {ids: [state.tail.at(-1), ...ids], unknown};
    }
    return {ids: label === undefined ? ids : [this.#labelId(label), ...ids], unknown};
  }

  #labelId(label) {
    const id = this.#labels.get(label) ?? this.#labels.get(label.normalize('NFC'));
    if (id === undefined) throw new TextgenError(`this model has no label ${JSON.stringify(label)}; there are: ${this.about.labels.join(', ') || 'none'}`);
    return id;
  }

  /** The label of a text that is read without one, as `textgen serve` has it: the most frequent one, if there are any. */
  get #usualLabel() {
    if (!this.#labels.size) return undefined;
    const [usual] = this.#model.host.starts.reduce((best, each) => (each[1] > best[1] ? each : best));
    return this.#labelOf([usual]) ?? undefined;
  }

  #isLabel(id) {
    return this.#model.host.labels.some(([, own]) => own === id);
  }

  #labelOf(ids) {
    return this.#model.host.labels.find(([, id]) => ids.includes(id))?.[0] ?? null;
  }

  /** The text of an id alone. */
  #textOf(id) {
    if (id === this.#endId) return '';
    const decoder = this.#tokenizer.decoder();
    return decoder.feed([id]) + decoder.flush();
  }

  /** A text as the training text would have it. */
  #asInTraining(text) {
    const {drops_byte_order_mark: dropsMark, converts_line_ends: converts, normalization} = this.#model.host.prompt;
    aText(text, 'text');
    if (dropsMark && text.startsWith('\ufeff')) text = text.slice(1);
    if (converts) text = text.replace(/\r\n?/g, '\n');
    return normalization ? text.normalize(normalization) : text;
  }

  #chainText({sampler, temperature, topK, topP, minP, repetitionPenalty}) {
    const numbers = {temperature, 'top-k': topK, 'top-p': topP, 'min-p': minP, 'repetition-penalty': repetitionPenalty};
    const given = Object.keys(numbers).filter(name => numbers[name] !== undefined);
    if (sampler !== undefined && given.length) throw new TextgenError(`a sampler chain and ${given.join(', ')} exclude each other; write all into the chain`);
    return editChain(sampler ?? this.about.chain, numbers);
  }
}

/** The log-probability of an id (nats). */
function logProbability(logits, id) {
  let best = -Infinity, total = 0;
  for (const logit of logits) best = Math.max(best, logit);
  for (const logit of logits) total += Math.exp(logit - best);
  return logits[id] - best - Math.log(total);
}

/** Gives the thread back now and then, so that it can stop what it does. */
class Pause {
  #since = performance.now();

  get isDue() {
    return performance.now() - this.#since > SLICE;
  }

  async take() {
    // Not scheduler.yield(): what goes on after it comes before timers, so that a timer could never stop it.
    await new Promise(go => {
      const {port1, port2} = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        go();
      };
      port2.postMessage(0);
    });
    this.#since = performance.now();
  }
}
