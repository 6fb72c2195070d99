// What model.json must be like.

import {aFlag, aLength, aNumber, aSeed, aText, check, damaged, listOf, must, oneOf, TextgenError, whole} from './checks.js';
import {Chain} from './sampling.js';

const FORMAT = 'textgen-web-1';

/** The largest vocabulary that samplers can sort. */
const MOST_IDS = 2 ** 20;

/** Check a model: what model.json has, and the bytes of model.safetensors. */
export async function checkModel(model, weights) {
  if (model?.format !== FORMAT) throw new TextgenError(`model.json is not of the format ${FORMAT}; export the run again with: textgen export --to web`);
  try {
    check(whole(1, MOST_IDS), model.vocab_size, 'model.vocab_size');
    check(rulesOf(model), model, 'model');
    new Chain(model.sampler, model.vocab_size, []);
  } catch (error) {
    throw damaged('model.json', error.message);
  }
  // Pages from a disk or by HTTPS have crypto.subtle.
  const digest = await globalThis.crypto?.subtle?.digest('SHA-256', weights);
  if (!digest) return;
  const sum = Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
  if (sum !== model.sha256) throw damaged('model.safetensors', 'its check sum is not the one in model.json');
}

function rulesOf({vocab_size: ids, units, tokenizer}) {
  const id = whole(0, ids - 1), orNull = rule => (value, name) => value === null || check(rule, value, name);
  const kinds = {
    characters: {first: whole(0, ids), count: whole(0, ids)},
    words: {count: whole(0, ids), pattern: aText},
    bytes: {pieces: listOf(aText), merges: listOf([id, id, id])},
  };
  return {
    name: aText, run: aText, card: aText, licence: aText, sampler: aText, length: aLength, prompt: aText, stop: listOf(aText), sha256: aText,
    precision: oneOf('fp32', 'fp16', 'int8'),
    units: listOf(whole(1)),
    cell: units?.length ? oneOf('gru', 'lstm') : oneOf(null),
    tokenizer: {kind: oneOf(...Object.keys(kinds)), ...kinds[tokenizer?.kind]},
    host: {
      texts: tokenizer?.kind === 'bytes' ? oneOf(null) : Array(ids).fill(aText),
      special_ids: {end: orNull(id), unknown: orNull(id)},
      forbidden_ids: (value, name) => {
        listOf(id)(value, name);
        check(whole(0, ids - 1), new Set(value).size, `${name}.length`);
      },
      on_unknown: orNull(oneOf('error', 'skip', 'unk')),
      prompt: {drops_byte_order_mark: aFlag, converts_line_ends: aFlag, normalization: oneOf('NFC', null)},
      starts: listOf([id, whole(1)]),
      labels: listOf([aText, id]),
      random: listOf({seed: aSeed, row: aSeed, step: aSeed, uniforms: listOf(aNumber)}),
    },
    golden: listOf({seed: aSeed, ids: listOf(id), likeliest: listOf([id, aNumber]), written: listOf(id)}),
  };
}
