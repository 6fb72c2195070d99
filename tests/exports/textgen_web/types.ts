import {load, TextgenError, UnknownCharacterError, type Generation, type TextState, type Unknown} from './model/textgen.js';

const generator = await load(new URL('./model/', import.meta.url), {kernel: 'simd', signal: AbortSignal.timeout(1000)});
const {cell, units, labels, card}: {cell: 'gru' | 'lstm' | null; units: number[]; labels: string[]; card: string} = generator.about;
const failed: string[] = generator.check().cases.filter(each => !each.passed).map(each => each.name);
const pieces = generator.generate({
  prompt: 'The ', label: labels[0], length: 10, temperature: 0.8, topK: 40, topP: 0.9, minP: 0.1, repetitionPenalty: 1.1,
  seed: 2n ** 64n - 1n, row: '3', stop: ['\n'], ignoreEos: true, onUnknown: 'skip',
});
let text = '', whole: Generation;
for (;;) {
  const next = await pieces.next();
  if (next.done) {
    whole = next.value;
    break;
  }
  text += next.value;
}
const state: TextState = structuredClone(whole.state);
for await (const piece of generator.generate({state, sampler: 'greedy'})) text += piece.toUpperCase();
const best: number = (await generator.probabilities(text, {state}))[0].probability;
const nats: (number | null)[] = (await generator.score(text)).map(each => each.logProbability);
const lacking: Unknown[] = generator.unknown(text);
const layer: Float32Array = (await generator.activations(text))[0].layers[0];
const position = (error: unknown): number | null => (error instanceof UnknownCharacterError ? error.position : null);
console.log(cell, units, card, failed, best, nats, lacking, layer, position(new TextgenError('')), whole.finishReason === 'eos');
