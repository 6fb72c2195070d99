// A stack of GRU or LSTM layers, with an n-gram mixed in or alone. The formulas are those of Keras's layers, the GRU's
// with the reset gate after the recurrent product.

import {makeKernel, PANEL} from './kernel.js';
import {ContextTree} from './ngram.js';

// int8: outputs of layers, which lie in [-1, 1], are taken as multiples of 1/127.
const QUANTUM = Math.fround(1 / 127);

/** The nearest whole number, of two the even one. */
function nearest(x) {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/**
 * The state is a value: {layers: [[h] or [h, c]], context}, where h and c are Float32Array and the context is the
 * number of the n-gram's. The methods of the network change it in place.
 */
export class Network {
  #cell;
  #layers;
  #head = null;
  #headBias;
  #rows; // the embedding, or the kernel of the first layer
  #inputs; // of the first layer: the projection of each id, once it was needed
  #ngram;
  #kernel;
  #f; // its memory as numbers, and in it buffers, as addresses
  #x;
  #addend;
  #out;
  #zero;
  #gates;
  #candidates;

  /**
   * @param {{cell: 'gru' | 'lstm' | null, units: number[], vocabSize: number}} about
   * @param {Record<string, {data: any, shape: number[]}>} tensors
   * @param {'simd' | 'scalar'} [kind] of the kernel
   */
  constructor({cell, units, vocabSize}, tensors, kind) {
    this.vocabSize = vocabSize;
    this.units = units;
    this.#cell = cell;
    this.#inputs = new Array(vocabSize);
    this.#ngram = tensors['ngram.suffixes'] ? new ContextTree(tensors, vocabSize) : null;
    this.contexts = this.#ngram?.contexts ?? 1;
    if (!units.length && !this.#ngram) throw new RangeError('no layers');
    const array = (name, ...shape) => {
      const tensor = tensors[name];
      if (String(tensor?.shape) !== String(shape)) throw new RangeError(`${name} is ${tensor?.shape}, not ${shape}`);
      return tensor.data;
    };
    const matrix = (name, rows, columns) => ({
      rows, columns, panels: Math.ceil(columns / PANEL),
      ...(tensors[name] ? {data: array(name, rows, columns)}
        : {data: array(`${name}.quantized`, rows, columns), scale: array(`${name}.scale`, columns)}),
    });
    const width = tensors.embedding?.shape[1];
    this.#layers = units.map((size, index) => {
      const layer = `layers.${index}`, all = (cell === 'gru' ? 3 : 4) * size, below = index ? units[index - 1] : width;
      const bias = array(`${layer}.bias`, ...(cell === 'gru' ? [2, all] : [all]));
      if (!index) this.#rows = width ? array('embedding', vocabSize, width) : array(`${layer}.kernel`, vocabSize, all);
      return {
        size,
        recurrent: matrix(`${layer}.recurrent_kernel`, size, all),
        below: below ? matrix(`${layer}.kernel`, below, all) : null,
        bias: bias.subarray(0, all), // of the input
        recurrentBias: bias.subarray(all), // of a GRU
      };
    });
    if (units.length) {
      this.#head = matrix('head.kernel', units.at(-1), vocabSize);
      this.#headBias = array('head.bias', vocabSize);
    }
    const matrices = [...this.#layers.flatMap(layer => [layer.recurrent, layer.below]), this.#head].filter(Boolean);
    const widest = Math.max(0, ...matrices.map(each => each.panels * PANEL));
    const longest = Math.max(0, ...matrices.map(each => each.rows));
    let floats = 0;
    const take = count => {
      const at = 4 * floats;
      floats += 4 * Math.ceil(count / 4);
      return at;
    };
    for (const each of matrices) each.at = take(each.rows * each.panels * PANEL);
    [this.#x, this.#addend, this.#out, this.#zero, this.#gates, this.#candidates] =
      [longest, widest, widest, widest, widest, widest].map(take);
    this.#kernel = makeKernel(floats, kind);
    this.kernel = this.#kernel.kind;
    this.#f = this.#kernel.memory;
    for (const each of matrices) {
      if (each.scale && this.#kernel.product_int8) this.#placeInPairs(each);
      else this.#place(each);
      delete each.data;
    }
  }

  /** Copy a matrix into the kernel's memory, in panels. */
  #place(matrix) {
    const {data, rows, columns, at} = matrix;
    for (let first = 0, to = at / 4; first < columns; first += PANEL, to += rows * PANEL) {
      const width = Math.min(PANEL, columns - first);
      for (let i = 0; i < rows; i++) {
        const from = i * columns + first;
        this.#f.set(data.subarray(from, from + width), to + i * PANEL);
      }
    }
  }

  /** The same for whole numbers of 8 bits, those of two rows in turns. */
  #placeInPairs(matrix) {
    const {data, rows, columns, at} = matrix, to = new Int8Array(this.#f.buffer, at), pairs = Math.ceil(rows / 2);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const row = Math.floor(j / PANEL) * pairs + (i >> 1);
        to[(row * PANEL + (j % PANEL)) * 2 + (i & 1)] = data[i * columns + j];
      }
    }
  }

  start() {
    const parts = this.#cell === 'lstm' ? 2 : 1;
    return {
      layers: this.units.map(size => Array.from({length: parts}, () => new Float32Array(size))),
      context: this.#ngram ? 1 : 0,
    };
  }

  /** Read an id. */
  read(id, state) {
    let values = null;
    this.#layers.forEach((layer, index) => {
      const input = index ? this.#times(values, layer.below, layer.bias).slice() : this.#input(id);
      values = this.#cell === 'gru' ? this.#gru(layer, input, state.layers[index]) : this.#lstm(layer, input, state.layers[index]);
    });
    if (this.#ngram) state.context = this.#ngram.next(state.context, id);
  }

  /** The logits of all ids, given what was read; the next call changes them. */
  logits(state) {
    const scores = this.#ngram?.scores(state.context);
    if (!this.#head) return scores.slice();
    const logits = this.#times(state.layers.at(-1)[0], this.#head, this.#headBias);
    if (scores) for (let id = 0; id < logits.length; id++) logits[id] += scores[id];
    return logits;
  }

  /** The projection of an id by the first layer's kernel, with its bias. */
  #input(id) {
    if (!this.#inputs[id]) {
      const {below, bias} = this.#layers[0], width = this.#rows.length / this.vocabSize;
      const row = this.#rows.subarray(id * width, (id + 1) * width);
      this.#inputs[id] = below ? this.#times(row, below, bias).slice() : row.map((value, j) => value + bias[j]);
    }
    return this.#inputs[id];
  }

  /** The product of values and a matrix, plus a vector: a part of the kernel's memory. */
  #times(values, {rows, columns, panels, at, scale}, addend) {
    const f = this.#f, out = f.subarray(this.#out / 4, this.#out / 4 + columns);
    if (scale) {
      if (this.#kernel.product_int8) {
        const x = new Int16Array(f.buffer, this.#x, rows + (rows & 1));
        for (let i = 0; i < rows; i++) x[i] = nearest(Math.fround(values[i] / QUANTUM));
        if (rows & 1) x[rows] = 0;
        this.#kernel.product_int8(this.#x, at, this.#out, x.length / 2, panels);
      } else {
        const x = this.#x / 4;
        for (let i = 0; i < rows; i++) f[x + i] = nearest(Math.fround(values[i] / QUANTUM));
        this.#kernel.product(this.#x, at, this.#zero, this.#out, rows, panels);
      }
      for (let j = 0; j < columns; j++) out[j] = Math.fround(out[j] * scale[j]) + addend[j];
    } else {
      f.set(values, this.#x / 4);
      f.set(addend, this.#addend / 4);
      this.#kernel.product(this.#x, at, this.#addend, this.#out, rows, panels);
    }
    return out;
  }

  #gru({size, recurrent, recurrentBias}, input, [h]) {
    const sums = this.#times(h, recurrent, recurrentBias), f = this.#f, round = Math.fround;
    const update = this.#gates / 4, reset = update + size, candidate = this.#candidates / 4;
    for (let j = 0; j < 2 * size; j++) f[update + j] = input[j] + sums[j];
    this.#kernel.sigmoid(this.#gates, Math.ceil(2 * size / 4));
    for (let j = 0; j < size; j++) f[candidate + j] = input[2 * size + j] + round(f[reset + j] * sums[2 * size + j]);
    this.#kernel.tanh(this.#candidates, Math.ceil(size / 4));
    for (let j = 0; j < size; j++) h[j] = f[candidate + j] + round(f[update + j] * round(h[j] - f[candidate + j]));
    return h;
  }

  #lstm({size, recurrent}, input, [h, c]) {
    const sums = this.#times(h, recurrent, input), f = this.#f, round = Math.fround;
    const take = this.#gates / 4, keep = take + size, output = keep + size, candidate = this.#candidates / 4;
    f.set(sums.subarray(0, 2 * size), take);
    f.set(sums.subarray(3 * size, 4 * size), output);
    f.set(sums.subarray(2 * size, 3 * size), candidate);
    this.#kernel.sigmoid(this.#gates, Math.ceil(3 * size / 4));
    this.#kernel.tanh(this.#candidates, Math.ceil(size / 4));
    for (let j = 0; j < size; j++) c[j] = round(f[keep + j] * c[j]) + round(f[take + j] * f[candidate + j]);
    f.set(c, candidate);
    this.#kernel.tanh(this.#candidates, Math.ceil(size / 4));
    for (let j = 0; j < size; j++) h[j] = f[output + j] * f[candidate + j];
    return h;
  }
}

/** A copy of a state. */
export const copyState = ({layers, context}) => ({layers: layers.map(parts => parts.map(part => part.slice())), context});
