// An n-gram as an automaton: contexts are numbered states, context 0 is the empty one. The probability of an id after a
// context is its own, plus the context's share of that after its suffix; after the empty context, of 1 / ids.

const LEAST = Math.fround(1e-30);

export class ContextTree {
  #suffixes;
  #shares;
  #offsets;
  #ids;
  #own;
  #longer;
  #power;
  #vocabSize;
  #rows = []; // the scores of contexts that have occurred

  constructor(tensors, vocabSize) {
    const array = name => tensors[`ngram.${name}`].data;
    [this.#suffixes, this.#shares, this.#offsets, this.#ids, this.#own, this.#longer] =
      ['suffixes', 'shares', 'offsets', 'ids', 'own', 'longer'].map(array);
    this.#power = array('power')[0];
    this.#vocabSize = vocabSize;
    const {length} = this.#suffixes, entries = this.#ids.length;
    const sizes = [this.#shares.length, this.#offsets.length - 1, this.#offsets[length], this.#own.length, this.#longer.length];
    if (String(sizes) !== String([length, length, entries, entries, entries])) throw new RangeError('the arrays of the n-gram do not fit');
  }

  get contexts() {
    return this.#suffixes.length;
  }

  /** What it adds to the logits of all ids after a context: log-probabilities, times its power. */
  scores(context) {
    return (this.#rows[context] ??= this.#probabilities(context).map(p => this.#power * Math.fround(Math.log(Math.max(p, LEAST)))));
  }

  #probabilities(context) {
    const p = context ? this.#probabilities(this.#suffixes[context]) : new Float32Array(this.#vocabSize).fill(1 / this.#vocabSize);
    for (let id = 0; id < p.length; id++) p[id] *= this.#shares[context];
    for (let entry = this.#offsets[context]; entry < this.#offsets[context + 1]; entry++) p[this.#ids[entry]] += this.#own[entry];
    return p;
  }

  /** The context after an id: the longest one that the text then ends with. */
  next(context, id) {
    for (;; context = this.#suffixes[context]) {
      let low = this.#offsets[context], end = this.#offsets[context + 1];
      while (low < end) {
        const middle = (low + end) >> 1;
        if (this.#ids[middle] < id) low = middle + 1;
        else end = middle;
      }
      if (low < this.#offsets[context + 1] && this.#ids[low] === id && this.#longer[low] >= 0) return this.#longer[low];
      if (!context) return 0;
    }
  }
}
