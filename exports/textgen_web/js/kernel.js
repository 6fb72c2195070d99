// Products of a vector and a matrix: in WebAssembly with SIMD, or in JavaScript, which gives the same bits.

import {TextgenError} from './errors.js';

const WASM = '@KERNEL@'; // the module that kernel.py writes, in base64

/** Columns of a panel: a matrix [rows, columns] lies in memory panel after panel, each row after row. */
export const PANEL = 32;

/**
 * Memory, and a product over addresses in it: out[j] = addend[j] + sum of x[i] * w[i, j] over i < rows, in the columns
 * of some panels. Each addition rounds to single precision.
 *
 * @param {number} floats the size of the memory
 * @param {'simd' | 'scalar'} [kind] by default SIMD where there is that
 */
export function makeKernel(floats, kind) {
  if (kind !== 'scalar') {
    try {
      const memory = new WebAssembly.Memory({initial: Math.ceil(floats / 16384)});
      const bytes = Uint8Array.from(atob(WASM), letter => letter.charCodeAt(0));
      const {exports} = new WebAssembly.Instance(new WebAssembly.Module(bytes), {env: {memory}});
      return {kind: 'simd', memory: new Float32Array(memory.buffer), product: exports.product};
    } catch (error) {
      if (kind === 'simd') throw new TextgenError(`WebAssembly with SIMD is not to be had here: ${error.message}`);
    }
  }
  const memory = new Float32Array(floats);
  return {kind: 'scalar', memory, product: (...places) => product(memory, ...places)};
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
