// The engine that asks a textgen server, and the only file that knows its addresses.
//
// Any engine has these methods; errors have a message for people, and `needsKey` if a key would help:
//   info()                                  the models: [{id, about, chain, length, prompt, labels, vocabSize, facts}], where
//                                           `facts` are [term, text] of the model card; `caution` where texts may differ
//   generate(settings, onText, signal)      writes texts; calls onText(index, text); returns how each ended
//   next({model, prompt, label}, signal)    what may follow, likeliest first: [{text, logProbability, isEnd}]
//   score({model, prompt, label}, signal)   how likely a prompt is: [{text, logProbability}], null for what is not predicted
//   command(settings)                       the command line that writes the same texts
// and may have:
//   states({model, prompt, label}, signal)  the network's state after each of the last tokens of a prompt: {texts, layers}
//   check()                                 whether it computes what textgen computes: {passed, cases}
// Settings are {model, prompt, label, n, length, temperature, topK, topP, minP, repetitionPenalty, stop, seed}; what
// is undefined is left to the model.

import {command} from './command.js';

const ROOT = new URL('../', import.meta.url);

const BITS = 1 / Math.LN2;

class EngineError extends Error {
  constructor(message, {needsKey = false} = {}) {
    super(message);
    this.needsKey = needsKey;
  }
}

class ServerEngine {
  command = command;
  #key = '';

  /** Send a key with every request from now on. */
  authorize(key) {
    this.#key = key;
  }

  async info() {
    const {data} = await (await this.#request('v1/models')).json();
    if (!data.length) throw new EngineError('The server has no model. Start it with one: textgen serve RUN.');
    return data.map(({id, textgen = {}}) => ({
      id,
      about: describe(textgen),
      chain: textgen.chain,
      length: textgen.default_length,
      prompt: textgen.prompt ?? '',
      labels: textgen.labels ?? [],
      vocabSize: textgen.vocab_size,
      facts: facts(textgen),
    }));
  }

  async generate(settings, onText, signal) {
    const {model, prompt, label, n = 1, length, temperature, topK, topP, minP, repetitionPenalty, stop, seed} = settings;
    const response = await this.#request('v1/completions', {
      model, prompt, label, n, max_tokens: length, temperature, top_k: topK, top_p: topP, min_p: minP,
      repetition_penalty: repetitionPenalty, stop, seed, stream: true,
    }, signal);
    const reasons = Array(n).fill(null);
    for await (const data of events(response)) {
      if (data === '[DONE]') return reasons;
      const event = JSON.parse(data);
      if (event.error) throw new EngineError(sentence(event.error.message));
      for (const {index, text, finish_reason: reason, stop_reason: stopText} of event.choices) {
        if (text) onText(index, text);
        if (reason) reasons[index] = reason === 'stop' && stopText == null ? 'end' : reason;
      }
    }
    throw new EngineError('The server broke off in the middle of a text. Press Write to try again.');
  }

  async next({model, prompt, label}, signal) {
    const {choices} = await (await this.#request('next', {model, prompt, label}, signal)).json();
    return choices.map(({text, logprob, is_end: isEnd}) => ({text, logProbability: logprob, isEnd}));
  }

  async score({model, prompt, label}, signal) {
    const body = {model, prompt, label, echo: true, max_tokens: 0, logprobs: 0};
    const {choices: [{logprobs}]} = await (await this.#request('v1/completions', body, signal)).json();
    return logprobs.tokens.map((text, index) => ({text, logProbability: logprobs.token_logprobs[index]}));
  }

  /** GET, or POST with a body. */
  async #request(path, body, signal) {
    const headers = {...(body && {'Content-Type': 'application/json'}), ...(this.#key && {Authorization: `Bearer ${this.#key}`})};
    const options = body ? {method: 'POST', headers, body: JSON.stringify(body), signal} : {headers, signal};
    let response;
    try {
      response = await fetch(new URL(path, ROOT), options);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new EngineError('The server does not answer. Check that textgen serve still runs, then try again.');
    }
    if (response.ok) return response;
    if (response.status === 401) {
      const message = this.#key ? 'The server does not accept this API key. Enter another.' : 'The server needs an API key. Enter it below.';
      throw new EngineError(message, {needsKey: true});
    }
    throw await refusal(response);
  }
}

/** The error that a refused request is. */
async function refusal(response) {
  if (response.status === 429) {
    const seconds = response.headers.get('Retry-After');
    return new EngineError(`The server is busy. Try again in ${seconds ?? 'a few'} seconds.`);
  }
  const {error} = await response.json().catch(() => ({}));
  if (error?.code === 'unknown_character') return new EngineError(`${sentence(error.message.split(';')[0])} Remove it from the prompt.`);
  return new EngineError(error?.message ? sentence(error.message) : `The server answered ${response.status}. Look at its log.`);
}

const sentence = message => message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? '' : '.');

/** The data of server-sent events. */
async function* events(response) {
  const decoder = new TextDecoder(), reader = response.body.getReader();
  let rest = '';
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      return; // the connection broke
    }
    if (part.done) return;
    const lines = (rest + decoder.decode(part.value, {stream: true})).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line.startsWith('data: ')) yield line.slice(6).trimEnd();
  }
}

/** What kind of model it is, in a few words. */
function describe({cell, units, vocab_size: size, precision}) {
  const network = cell && `${cell.toUpperCase()} ${[units].flat().join(' + ')}`;
  return [network, size && `vocabulary of ${size.toLocaleString('en')}`, precision].filter(Boolean).join(', ');
}

/** The model card: terms and what is said of them. */
function facts({cell, units, vocab_size: size, precision, runtime, corpus, license, held_out_loss: loss}) {
  const network = cell && [cell.toUpperCase(), [units].flat().join(' + ')].join(' ');
  const found = {
    Network: network,
    Vocabulary: size?.toLocaleString('en'),
    'Trained on': corpus,
    'Licence of its text': license,
    'On text it has not seen': loss && `${(loss * BITS).toFixed(2)} bits per character`,
    Runtime: [runtime, precision].filter(Boolean).join(', '),
  };
  return Object.entries(found).filter(([, value]) => value);
}

export const engine = new ServerEngine();
