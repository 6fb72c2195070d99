// The random numbers of generation. Philox4x64-10 (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as
// 1, 2, 3, SC 2011) as numpy.random.Philox(key=[seed, row]) gives it: the number of step s is word s % 4 of the block
// with the counter floor(s / 4) + 1, since NumPy counts up before its first block.
//
// A number of 64 bits is two unsigned halves of 32: BigInt would take ten times as long.

let product3 = 0, product2 = 0, product1 = 0, product0 = 0; // the last product of 128 bits, most significant word first

/** The upper 32 bits of the product of two unsigned numbers of 32 bits. */
function high(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + (Math.imul(a0, b0) >>> 16), other = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}

/** The product of two numbers of 64 bits, given by their halves. */
function multiply(ah, al, bh, bl) {
  const middle = high(al, bl) + (Math.imul(al, bh) >>> 0) + (Math.imul(ah, bl) >>> 0);
  const upper = high(al, bh) + high(ah, bl) + (Math.imul(ah, bh) >>> 0) + Math.floor(middle / 2 ** 32);
  product0 = Math.imul(al, bl) >>> 0;
  product1 = middle >>> 0;
  product2 = upper >>> 0;
  product3 = (high(ah, bh) + Math.floor(upper / 2 ** 32)) >>> 0;
}

/** The random numbers of a row. Seed and row are from 0 to 2^64 - 1. */
export class Uniforms {
  #keys;
  #counter = -1;
  #words = new Uint32Array(4); // the upper halves of a block

  /** @param {bigint} seed @param {bigint} row */
  constructor(seed, row) {
    this.#keys = [seed >> 32n, seed, row >> 32n, row].map(half => Number(half & 0xffffffffn));
  }

  /** The number of a step from 0 on, in [0, 1): a multiple of 2^-24. */
  at(step) {
    const counter = Math.floor(step / 4) + 1;
    if (counter !== this.#counter) this.#fill(counter);
    return (this.#words[step % 4] >>> 8) / 2 ** 24;
  }

  #fill(counter) {
    let c0h = Math.floor(counter / 2 ** 32), c0l = counter >>> 0, c1h = 0, c1l = 0, c2h = 0, c2l = 0, c3h = 0, c3l = 0;
    let [k0h, k0l, k1h, k1l] = this.#keys;
    for (let round = 0; round < 10; round++) {
      multiply(0xD2E7470E, 0xE14C6C93, c0h, c0l);
      const ah = product3, al = product2, bh = product1, bl = product0;
      multiply(0xCA5A8263, 0x95121157, c2h, c2l);
      c0h = (product3 ^ c1h ^ k0h) >>> 0; c0l = (product2 ^ c1l ^ k0l) >>> 0; c1h = product1; c1l = product0;
      c2h = (ah ^ c3h ^ k1h) >>> 0; c2l = (al ^ c3l ^ k1l) >>> 0; c3h = bh; c3l = bl;
      let low = k0l + 0x7F4A7C15;
      k0h = (k0h + 0x9E3779B9 + (low >= 2 ** 32)) >>> 0; k0l = low >>> 0;
      low = k1l + 0x84CAA73B;
      k1h = (k1h + 0xBB67AE85 + (low >= 2 ** 32)) >>> 0; k1l = low >>> 0;
    }
    this.#words.set([c0h, c1h, c2h, c3h]);
    this.#counter = counter;
  }
}
