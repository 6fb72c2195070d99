// A stack of GRU or LSTM layers, with an n-gram mixed in or alone. The formulas are those of Keras's layers, the GRU's
// with the reset gate after the recurrent product.

import {makeKernel, PANEL} from './kernel.js';
import {ContextTree} from './ngram.js';

const sigmoid = x => 1 / (1 + Math.exp(-x));

// int8: outputs of layers, which lie in [-1, 1], are multiples of 1/127; products of whole numbers below 2^24 are exact.
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
  #tensors;
  #layers;
  #head;
  #inputs; // of the first layer: the projection of each id, once it was needed
  #ngram;
  #f; // the kernel's memory as numbers, and its buffers as addresses
  #product;
  #x;
  #addend;
  #out;
  #zero;

  /**
   * @param {{cell: 'gru' | 'lstm' | null, units: number[], vocabSize: number}} about
   * @param {Record<string, {data: any, shape: number[]}>} tensors
   * @param {'simd' | 'scalar'} [kind] of the kernel
   */
  constructor({cell, units, vocabSize}, tensors, kind) {
    this.vocabSize = vocabSize;
    this.units = units;
    this.#cell = cell;
    this.#tensors = tensors;
    this.#inputs = new Array(vocabSize);
    this.#ngram = tensors['ngram.suffixes'] ? new ContextTree(tensors, vocabSize) : null;
    const matrix = name => {
      const {data, shape: [rows, columns]} = tensors[name] ?? tensors[`${name}.quantized`];
      return {data, rows, columns, panels: Math.ceil(columns / PANEL), scale: tensors[`${name}.scale`]?.data};
    };
    this.#layers = units.map((size, index) => ({
      size,
      recurrent: matrix(`layers.${index}.recurrent_kernel`),
      below: index || tensors.embedding ? matrix(`layers.${index}.kernel`) : null,
      bias: this.#bias(index, 0),
      recurrentBias: cell === 'gru' ? this.#bias(index, 1) : null,
    }));
    this.#head = units.length ? matrix('head.kernel') : null;
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
    [this.#x, this.#addend, this.#out, this.#zero] = [longest, widest, widest, widest].map(take);
    const kernel = makeKernel(floats, kind);
    this.kernel = kernel.kind;
    this.#f = kernel.memory;
    this.#product = kernel.product;
    matrices.forEach(each => this.#place(each));
  }

  /** The bias of a layer: that of the input, or of a GRU the recurrent one. */
  #bias(index, row) {
    const {data, shape} = this.#tensors[`layers.${index}.bias`];
    const size = shape.at(-1);
    return data.subarray(row * size, (row + 1) * size);
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
    delete matrix.data;
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
    const logits = this.#times(state.layers.at(-1)[0], this.#head, this.#tensors['head.bias'].data);
    if (scores) for (let id = 0; id < logits.length; id++) logits[id] += scores[id];
    return logits;
  }

  /** The projection of an id by the first layer's kernel, with its bias. */
  #input(id) {
    if (!this.#inputs[id]) {
      const {below, bias} = this.#layers[0], {data, shape: [, width]} = this.#tensors.embedding ?? this.#tensors['layers.0.kernel'];
      const row = data.subarray(id * width, (id + 1) * width);
      this.#inputs[id] = below ? this.#times(row, below, bias).slice() : row.map((value, j) => value + bias[j]);
    }
    return this.#inputs[id];
  }

  /** The product of values and a matrix, plus a vector: a part of the kernel's memory. */
  #times(values, {rows, columns, panels, at, scale}, addend) {
    const f = this.#f, out = f.subarray(this.#out / 4, this.#out / 4 + columns);
    if (scale) {
      const x = this.#x / 4;
      for (let i = 0; i < rows; i++) f[x + i] = nearest(Math.fround(values[i] / QUANTUM));
      this.#product(this.#x, at, this.#zero, this.#out, rows, panels);
      for (let j = 0; j < columns; j++) out[j] = Math.fround(out[j] * scale[j]) + addend[j];
    } else {
      f.set(values, this.#x / 4);
      f.set(addend, this.#addend / 4);
      this.#product(this.#x, at, this.#addend, this.#out, rows, panels);
    }
    return out;
  }

  #gru({size, recurrent, recurrentBias}, input, [h]) {
    const sums = this.#times(h, recurrent, recurrentBias);
    for (let j = 0; j < size; j++) {
      const update = sigmoid(input[j] + sums[j]), reset = sigmoid(input[size + j] + sums[size + j]);
      const candidate = Math.tanh(input[2 * size + j] + reset * sums[2 * size + j]);
      h[j] = candidate + update * (h[j] - candidate);
    }
    return h;
  }

  #lstm({size, recurrent}, input, [h, c]) {
    const sums = this.#times(h, recurrent, input);
    for (let j = 0; j < size; j++) {
      const take = sigmoid(sums[j]), keep = sigmoid(sums[size + j]), output = sigmoid(sums[3 * size + j]);
      c[j] = keep * c[j] + take * Math.tanh(sums[2 * size + j]);
      h[j] = output * Math.tanh(c[j]);
    }
    return h;
  }
}

/** A copy of a state. */
export const copyState = ({layers, context}) => ({layers: layers.map(parts => parts.map(part => part.slice())), context});
