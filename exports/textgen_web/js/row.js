// One text while it is written: its ids, its characters, where it ends, and the search for stop texts, which holds back
// what may turn out to be one.

import {CONTEXT, countOf} from './tokenizers.js';

/** The most ids that a character takes: bytes of UTF-8. A text that writes ids without text ends all the same. */
const MOST_IDS_PER_CHARACTER = 4;

/** Ids of a prompt that are decoded at once. */
const AT_ONCE = 4096;

/** A search for stop texts (Knuth, Morris and Pratt, Fast pattern matching in strings, 1977), character by character. */
class StopSearch {
  #texts;

  constructor(texts) {
    this.#texts = [...new Set(texts)].filter(Boolean).map(text => {
      const characters = [...text], borders = [0];
      for (let i = 1, length = 0; i < characters.length; i++) {
        while (length && characters[i] !== characters[length]) length = borders[length - 1];
        borders.push(length += characters[i] === characters[length]);
      }
      return {text, characters, borders, matched: 0};
    });
  }

  /** Read a character; returns the stop text that ends with it, the longest of several, or null. */
  feed(character) {
    let found = null;
    for (const stop of this.#texts) {
      const {characters, borders} = stop;
      if (stop.matched === characters.length) stop.matched = borders[stop.matched - 1];
      while (stop.matched && characters[stop.matched] !== character) stop.matched = borders[stop.matched - 1];
      stop.matched += characters[stop.matched] === character;
      if (stop.matched === characters.length && characters.length > (found?.characters.length ?? 0)) found = stop;
    }
    return found?.text ?? null;
  }

  /** The end of the text that may turn out to be the beginning of a stop text. */
  get heldBack() {
    const longest = this.#texts.reduce((best, stop) => (stop.matched > best.matched ? stop : best), {matched: 0, characters: []});
    return longest.characters.slice(0, longest.matched).join('');
  }
}

export class Row {
  ids; // those that were drawn, up to the one that ended the text
  text = ''; // without the end and the stop text, and no longer than the length
  stopText = '';
  finishReason = null; // 'length', 'eos', 'stop' or 'cancelled'
  unread = 0; // characters of the text of the ids that follow the end of the text

  #decoder;
  #search;
  #endId;
  #drawn;
  #limit;
  #length;
  #count = 0; // characters of the text
  #given = 0; // UTF-16 units of it that take() has returned
  #read;

  /**
   * @param tokenizer of the model
   * @param {number[]} prompt the ids that it reads before it writes
   * @param {{length: number, stop: string[], endId: number | null, isDrawn: boolean, before: object | null}} options
   *   isDrawn: whether the prompt is a drawn first id, which is part of the text; before: the state that it continues
   */
  constructor(tokenizer, prompt, {length, stop, endId, isDrawn, before}) {
    this.ids = isDrawn ? [...prompt] : [];
    this.#decoder = tokenizer.decoder();
    this.#search = new StopSearch(stop);
    this.#endId = endId;
    this.#drawn = this.ids.length;
    this.#length = this.#limit = length;
    this.#read = [...(before?.tail.slice(0, -1) ?? []), ...prompt.slice(-CONTEXT)];
    let begun = '';
    if (isDrawn) {
      begun = this.#decoder.feed(this.#read);
      this.#limit += countOf(begun);
    } else if (before && prompt.length === 1) {
      const read = [...this.#decoder.feed(this.#read)];
      begun = read.slice(read.length - before.unread).join('');
    } else {
      for (let start = 0; start < prompt.length; start += AT_ONCE) this.#decoder.feed(prompt.slice(start, start + AT_ONCE));
    }
    this.#add(begun);
  }

  /** The number of ids that were drawn by a step's random number. */
  get steps() {
    return this.ids.length - this.#drawn;
  }

  /** The last ids that were read or written, among them those of what is unread. */
  get tail() {
    return [...this.#read, ...this.ids.slice(this.#drawn)].slice(-CONTEXT - MOST_IDS_PER_CHARACTER * this.unread);
  }

  /** Append a drawn id. */
  extend(id) {
    this.ids.push(id);
    this.#add(id === this.#endId ? this.#decoder.flush() : this.#decoder.feed([id]));
    if (id === this.#endId && this.finishReason !== 'stop') this.finishReason = 'eos'; // even if its text is the last that fits
    if (!this.finishReason && this.steps >= this.#length * MOST_IDS_PER_CHARACTER) this.finishReason = 'length';
  }

  /** The text that can no longer change, as far as it was not taken before. */
  take() {
    const end = this.text.length - (this.finishReason ? 0 : this.#search.heldBack.length);
    const piece = this.text.slice(this.#given, end);
    this.#given = Math.max(end, this.#given);
    return piece;
  }

  /** End the text where it is: it is what take() has returned. */
  cancel() {
    this.finishReason = 'cancelled';
    this.unread = countOf(this.text.slice(this.#given));
    this.text = this.text.slice(0, this.#given);
  }

  /** Add characters, up to the end of a stop text or of the length. */
  #add(piece) {
    const characters = [...piece];
    for (let i = 0; i < characters.length; i++) {
      this.text += characters[i];
      this.#count++;
      const stop = this.#search.feed(characters[i]);
      if (stop !== null) {
        this.text = this.text.slice(0, this.text.length - stop.length);
        this.stopText = stop;
        this.finishReason = 'stop';
      } else if (this.#count >= this.#limit) this.finishReason = 'length';
      if (this.finishReason) {
        this.unread = characters.length - i - 1;
        return;
      }
    }
  }
}
