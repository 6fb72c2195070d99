// Texts that end a generation: finding them while a text is written, and holding back what may turn out to be one.

/** A search for stop texts (Knuth, Morris and Pratt, Fast pattern matching in strings, 1977), character by character. */
export class StopSearch {
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
