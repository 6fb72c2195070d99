/** Open a model: the URL of its folder, or what its files have. */
export function load(source: string | URL | ModelFiles, options?: LoadOptions): Promise<TextGenerator>;

export interface ModelFiles {
  /** What `model.json` has. */
  model: object;
  /** The bytes of `model.safetensors`. */
  weights: ArrayBuffer | ArrayBufferView;
}

export interface LoadOptions {
  /** Products in WebAssembly with SIMD or in JavaScript; by default SIMD where there is that. Both give the same texts. */
  kernel?: 'simd' | 'scalar';
  /** Ends the download. */
  signal?: AbortSignal;
}

export interface About {
  name: string;
  /** The name of the run's folder. */
  run: string;
  /** Of all layers; null for an n-gram alone. */
  cell: 'gru' | 'lstm' | null;
  /** Of each layer. */
  units: number[];
  vocabSize: number;
  precision: 'fp32' | 'fp16' | 'int8';
  kernel: 'simd' | 'scalar';
  /** The sampler chain that it draws with by default. */
  chain: string;
  /** Characters that it writes by default. */
  length: number;
  /** The prompt that it continues by default. */
  prompt: string;
  /** The texts that end a generation by default. */
  stop: string[];
  labels: string[];
  /** The model card, in Markdown. */
  card: string;
  /** Of the corpus. */
  license: string;
}

/** 0 to 2^64 - 1; above 2^53 as bigint or text. */
export type Seed = number | bigint | string;

export interface GenerateOptions {
  /** Text to continue; for an empty one the first character is drawn. */
  prompt?: string;
  label?: string;
  /** Characters to write, at most. */
  length?: number;
  /** Single numbers of the sampler chain. */
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  /** A whole chain such as 'temperature(0.8) | top-k(40) | multinomial'; excludes the five options above. */
  sampler?: string;
  /** By default a new one. */
  seed?: Seed;
  /** The number of the text, of several with one seed; by default 0. */
  row?: Seed;
  /** Texts that end a generation; they are not part of it. */
  stop?: string | string[];
  /** Continue after the end of a document. */
  ignoreEos?: boolean;
  /** What becomes of characters that the vocabulary lacks. */
  onUnknown?: 'error' | 'skip' | 'unk';
  /** The text to continue, with the same seed and row unless others are given. */
  state?: TextState;
  /** Ends the text where it is; until the prompt is read, there is none, and the reason of the signal is thrown. */
  signal?: AbortSignal;
}

/** A point from which a text can be continued; a value that structuredClone copies. */
export interface TextState {
  /** The check sum of the weights: no other model can continue the text. */
  model: string;
  network: { layers: Float32Array[][]; context: number };
  tail: number[];
  unread: number;
  step: number;
  seen: number[];
  seed: number | string;
  row: number | string;
}

export interface Unknown {
  character: string;
  /** The place of the first one, in characters. */
  position: number;
  count: number;
  treatment: 'skip' | 'unk';
}

export interface Generation {
  /** Without prompt, end of document and stop text. */
  text: string;
  ids: number[];
  finishReason: 'length' | 'eos' | 'stop' | 'cancelled';
  /** The stop text that ended it; empty if none did. */
  stopText: string;
  /** What the vocabulary lacks of the prompt. */
  unknown: Unknown[];
  label: string | null;
  seed: number | string;
  row: number | string;
  state: TextState;
}

export interface Next {
  id: number;
  /** Empty for the end of a document. */
  text: string;
  probability: number;
  isEnd: boolean;
}

export interface Scored {
  text: string;
  /** Nats; null for a token before which there is nothing. */
  logProbability: number | null;
}

export interface Activation {
  text: string;
  /** The output of each layer. */
  layers: Float32Array[];
}

export interface Check {
  passed: boolean;
  cases: { name: string; passed: boolean }[];
}

export class TextGenerator {
  private constructor();
  readonly about: Readonly<About>;
  /** Compare random numbers, logits and drawn ids with those that textgen computed for this model. */
  check(): Check;
  /** Write a text: yields pieces of it as they come, and returns how it ended. */
  generate(options?: GenerateOptions): AsyncGenerator<string, Generation, void>;
  /** What may follow a text, likeliest first; of an empty one, what texts begin with. */
  probabilities(text?: string, options?: { label?: string; state?: TextState; signal?: AbortSignal }): Promise<Next[]>;
  /** How likely each token of a text is, given those before it. */
  score(text: string, options?: { label?: string; signal?: AbortSignal }): Promise<Scored[]>;
  /** What the vocabulary lacks of a text, and what becomes of it; throws where that is an error. */
  unknown(text: string): Unknown[];
  /** The outputs of the layers after each token of a text. */
  activations(text: string, options?: { label?: string; signal?: AbortSignal }): Promise<Activation[]>;
}

/** What a person can fix. */
export class TextgenError extends Error {}

/** A character, or a word, that the vocabulary lacks. */
export class UnknownCharacterError extends TextgenError {
  readonly character: string;
  readonly position: number;
}
