// Products of a vector and a matrix, sigmoid and tanh: in WebAssembly with SIMD, or in JavaScript, which gives the same
// bits: each operation rounds to single precision.

import {TextgenError} from './checks.js';

const WASM = '@KERNEL@'; // the module that kernel.py writes, in base64

/** Columns of a panel: a matrix [rows, columns] lies in memory panel after panel, each row after row. */
export const PANEL = 32;

/** Rational approximations, those of kernel.py: the bound, numerator and denominator, and what is added. */
const [SIGMOID, TANH] = '@RATIONALS@';

/**
 * Memory of some floats, and what is done in it; kernel.py describes the functions. There is no product_int8 without
 * SIMD, where a product of whole numbers in single precision is as fast, and as exact below 2^24.
 *
 * @param {number} floats
 * @param {'simd' | 'scalar'} [kind] by default SIMD where there is that
 */
export function makeKernel(floats, kind) {
  if (kind !== 'scalar') {
    try {
      const memory = new WebAssembly.Memory({initial: Math.ceil(floats / 16384)});
      const bytes = Uint8Array.from(atob(WASM), letter => letter.charCodeAt(0));
      const {exports} = new WebAssembly.Instance(new WebAssembly.Module(bytes), {env: {memory}});
      return {kind: 'simd', memory: new Float32Array(memory.buffer), ...exports};
    } catch (error) {
      if (kind === 'simd') throw new TextgenError(`WebAssembly with SIMD is not to be had here: ${error.message}`);
    }
  }
  const memory = new Float32Array(floats);
  return {
    kind: 'scalar', memory,
    product: (...places) => product(memory, ...places),
    sigmoid: (at, vectors) => rational(memory, at, vectors, SIGMOID),
    tanh: (at, vectors) => rational(memory, at, vectors, TANH),
  };
}

function product(f, x, w, addend, out, rows, panels) {
  const round = Math.fround;
  x >>= 2; w >>= 2; addend >>= 2; out >>= 2;
  for (let panel = 0; panel < panels; panel++, w += rows * PANEL) {
    for (let column = 0; column < PANEL; column += 4, addend += 4, out += 4) {
      let a = f[addend], b = f[addend + 1], c = f[addend + 2], d = f[addend + 3];
      for (let i = 0, at = w + column; i < rows; i++, at += PANEL) {
        const value = f[x + i];
        a = round(a + round(value * f[at]));
        b = round(b + round(value * f[at + 1]));
        c = round(c + round(value * f[at + 2]));
        d = round(d + round(value * f[at + 3]));
      }
      f[out] = a; f[out + 1] = b; f[out + 2] = c; f[out + 3] = d;
    }
  }
}

function rational(f, at, vectors, [bound, numerator, denominator, added]) {
  const round = Math.fround;
  for (let i = at / 4; i < at / 4 + 4 * vectors; i++) {
    const value = Math.min(Math.max(f[i], -bound), bound), square = round(value * value);
    let above = round(numerator[0]), below = round(denominator[0]);
    for (let n = 1; n < numerator.length; n++) above = round(round(above * square) + round(numerator[n]));
    for (let n = 1; n < denominator.length; n++) below = round(round(below * square) + round(denominator[n]));
    f[i] = round(round(round(above * value) / below) + added);
  }
}
