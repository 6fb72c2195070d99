// Reading safetensors (https://github.com/huggingface/safetensors).

import {damaged} from './checks.js';

const ARRAYS = {
  F32: Float32Array, F16: Uint16Array, I8: Int8Array, U8: Uint8Array, I16: Int16Array, U16: Uint16Array, I32: Int32Array, U32: Uint32Array,
};

/** The tensors of a file by name: {data, shape}. Half precision becomes single precision. */
export function readTensors(buffer) {
  try {
    const size = Number(new DataView(buffer).getBigUint64(0, true)), tensors = {};
    let end = 8 + size;
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
    for (const [name, {dtype, shape, data_offsets: [from, to]}] of Object.entries(header)) {
      const data = new ARRAYS[dtype](buffer.slice(8 + size + from, 8 + size + to));
      end = Math.max(end, 8 + size + to);
      if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new RangeError(name);
      tensors[name] = {data: dtype === 'F16' ? widened(data) : data, shape};
    }
    if (end !== buffer.byteLength) throw new RangeError(`${buffer.byteLength} bytes instead of ${end}`);
    return tensors;
  } catch (error) {
    throw damaged('model.safetensors', error.message);
  }
}

/** Numbers of half precision, as 16 bits each, in single precision. */
function widened(halves) {
  // A half is a single whose exponent is 112 too small: the product puts that right, for subnormal numbers, too.
  const bits = new Uint32Array(halves.length), scale = 2 ** 112, numbers = new Float32Array(bits.buffer);
  for (let i = 0; i < halves.length; i++) {
    bits[i] = ((halves[i] & 0x8000) << 16) | ((halves[i] & 0x7fff) << 13);
    numbers[i] *= scale;
  }
  return numbers;
}
