// Text to ids and back, as textgen's own tokenizers do. A character is a code point.
//
// A tokenizer has encode(text, onUnknown) -> {ids, unknown}, texts (of the ids; null if they are bytes), and decoder(),
// which turns ids into text as they come: feed(ids) and flush() return the text that can no longer change.

import {TextgenError} from './checks.js';

/** A piece of a text that the vocabulary lacks: a character, or a word. */
export class UnknownCharacterError extends TextgenError {
  name = 'UnknownCharacterError';

  constructor(character, position, ways) {
    const code = [...character].length === 1 ? ` (U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')})` : '';
    const advice = ways.map(way => `, or set onUnknown to '${way}'`).join('');
    super(`${JSON.stringify(character)}${code} at position ${position} is not in the vocabulary; remove it${advice}`);
    this.character = character;
    this.position = position;
  }
}

/** What encoding found: ids, and what is unknown, each with its first position and its number. */
class Encoding {
  ids = [];
  #unknown = new Map();

  /** @param {'error' | 'skip' | 'unk'} way @param {number | null} unknownId */
  constructor(way, unknownId, canChoose) {
    // As in textgen, 'unk' is an error of the character if no id stands for it.
    this.way = way === 'unk' && unknownId === null ? 'error' : way;
    this.unknownId = unknownId;
    this.ways = canChoose ? ['skip', 'unk'].slice(0, unknownId === null ? 1 : 2) : [];
  }

  add(id) {
    this.ids.push(id);
  }

  miss(piece, position) {
    if (this.way === 'error') throw new UnknownCharacterError(piece, position, this.ways);
    if (this.way === 'unk') this.ids.push(this.unknownId);
    const found = this.#unknown.get(piece) ?? {character: piece, position, count: 0, treatment: this.way};
    this.#unknown.set(piece, {...found, count: found.count + 1});
  }

  get result() {
    return {ids: this.ids, unknown: [...this.#unknown.values()]};
  }
}

class Tokenizer {
  /** @param {object} host what model.json says of ids and texts */
  constructor({texts, on_unknown: way, special_ids: {unknown}}) {
    this.texts = texts;
    this.way = way ?? 'error';
    this.unknownId = unknown;
  }

  /** canChoose: whether the caller can set onUnknown. */
  encode(text, onUnknown = this.way, canChoose = false) {
    const encoding = new Encoding(onUnknown, this.unknownId, canChoose);
    this.read(text, encoding);
    return encoding.result;
  }

  decoder() {
    return new PlainDecoder(this.texts);
  }
}

class Characters extends Tokenizer {
  #ids;

  constructor(host, {first, count}) {
    super(host);
    this.#ids = new Map(host.texts.slice(first, first + count).map((text, index) => [text, first + index]));
  }

  read(text, encoding) {
    let position = 0;
    for (const character of text) {
      const id = this.#ids.get(character);
      if (id === undefined) encoding.miss(character, position);
      else encoding.add(id);
      position++;
    }
  }
}

class Words extends Tokenizer {
  #ids;
  #pattern;

  constructor(host, {count, pattern}) {
    super(host);
    this.#ids = new Map(host.texts.slice(0, count).map((text, id) => [text, id]));
    this.#pattern = new RegExp(pattern, 'gu'); // its first group is a word; the rest are marks and white space
  }

  read(text, encoding) {
    let position = 0;
    for (const [token, word] of text.matchAll(this.#pattern)) {
      const id = this.#ids.get(token);
      if (id !== undefined) encoding.add(id);
      else if (word !== undefined && this.unknownId !== null) {
        const piece = token.replace(/^ /, '');
        encoding.miss(piece, position + token.length - piece.length);
      } else {
        let at = position;
        for (const character of token) {
          const known = this.#ids.get(character);
          if (known === undefined) encoding.miss(character, at);
          else encoding.add(known);
          at++;
        }
      }
      position += countOf(token);
    }
  }
}

/** What a byte-level vocabulary splits a text into before it merges bytes: the pattern of GPT-2. */
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The ids of pieces are kept, of so many at most, and of those of so many characters. */
const KEPT = 50_000, LONGEST_KEPT = 64;

/** Characters of a text that are split at once; a longer one is cut before white space if there is any, as in textgen. */
const PART = 65536;
const PARTS = new RegExp(`[^]{1,${PART}}(?:$|(?<=\\P{White_Space})(?=\\p{White_Space}))|[^]{1,${PART}}`, 'gu');

class Bytes extends Tokenizer {
  #pieces;
  #ids;
  #merges;
  #kept = new Map();

  constructor(host, {pieces, merges}) {
    super(host);
    const byteOf = new Map(lettersOfBytes().map((letter, byte) => [letter, byte]));
    this.#pieces = pieces.map(letters => Uint8Array.from(letters, letter => byteOf.get(letter)));
    this.#ids = new Array(256);
    this.#pieces.forEach((bytes, id) => bytes.length === 1 && (this.#ids[bytes[0]] = id));
    this.#pieces.push(Uint8Array.of(10)); // the end of a document; labels have no bytes
    this.#merges = new Map(merges.map(([left, right, merged], rank) => [this.#pair(left, right), {rank, merged}]));
  }

  read(text, encoding) {
    let position = 0, known = '';
    if (/\p{Surrogate}/u.test(text)) {
      for (const character of text) {
        if (/\p{Surrogate}/u.test(character)) encoding.miss(character, position);
        else known += character;
        position++;
      }
    } else known = text;
    for (const part of known.length > PART ? known.match(PARTS) : [known]) {
      for (const [piece] of part.matchAll(PIECES)) for (const id of this.#merged(piece)) encoding.add(id);
    }
  }

  /** The ids of a piece: of all pairs that can be merged, those that were learnt first are, again and again. */
  #merged(piece) {
    let ids = this.#kept.get(piece);
    if (ids) return ids;
    ids = Array.from(new TextEncoder().encode(piece), byte => this.#ids[byte]);
    for (;;) {
      let best = null;
      for (let i = 1; i < ids.length; i++) {
        const merge = this.#merges.get(this.#pair(ids[i - 1], ids[i]));
        if (merge && !(merge.rank >= best?.rank)) best = merge;
      }
      if (!best) break;
      const merged = [];
      for (let i = 0; i < ids.length; i++) {
        const isPair = i + 1 < ids.length && this.#merges.get(this.#pair(ids[i], ids[i + 1])) === best;
        merged.push(isPair ? best.merged : ids[i]);
        i += isPair;
      }
      ids = merged;
    }
    if (piece.length > LONGEST_KEPT) return ids;
    if (this.#kept.size >= KEPT) this.#kept.clear();
    this.#kept.set(piece, ids);
    return ids;
  }

  /** A pair of ids as one number. */
  #pair(left, right) {
    return left * this.#pieces.length + right;
  }

  decoder() {
    return new BytesDecoder(ids => {
      const bytes = ids.flatMap(id => [...(this.#pieces[id] ?? [])]);
      return new TextDecoder('utf-8', {ignoreBOM: true}).decode(Uint8Array.from(bytes));
    });
  }
}

/** The letter that stands for each byte: printable characters of Latin-1 for themselves, the others from U+0100 on. */
function lettersOfBytes() {
  let next = 0x100;
  const isPrintable = byte => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  return Array.from({length: 256}, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
}

class PlainDecoder {
  #texts;

  constructor(texts) {
    this.#texts = texts;
  }

  feed(ids) {
    let text = '';
    for (const id of ids) text += this.#texts[id];
    return text;
  }

  flush() {
    return '';
  }
}

/** Decoded ids that are decoded again with those that follow: an id's text may depend on the ids right before it. */
export const CONTEXT = 8;

/** Holds back a last U+FFFD: it stands for the first bytes of a character. */
class BytesDecoder {
  #decode;
  #ids = [];
  #given = 0; // UTF-16 units of the text of these ids that were returned

  constructor(decode) {
    this.#decode = decode;
  }

  feed(ids) {
    this.#ids.push(...ids);
    const text = this.#decode(this.#ids), isHeld = text.endsWith('\ufffd'), end = text.length - isHeld;
    const piece = text.slice(this.#given, end);
    this.#given = Math.max(this.#given, end);
    if (!isHeld && this.#ids.length > CONTEXT) {
      this.#ids = this.#ids.slice(-CONTEXT);
      this.#given = this.#decode(this.#ids).length;
    }
    return piece;
  }

  flush() {
    return this.#decode(this.#ids).slice(this.#given);
  }
}

const KINDS = {characters: Characters, words: Words, bytes: Bytes};

/** The tokenizer that model.json describes. */
export const makeTokenizer = ({host, tokenizer}) => new KINDS[tokenizer.kind](host, tokenizer);

/** The number of characters of a text. */
export function countOf(text) {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
