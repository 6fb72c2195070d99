// The engine that asks a textgen server, and the only file that knows its addresses.
//
// Any engine has these methods; errors have a message for people, and `needsKey` if a key would help:
//   info()                                  the models: [{id, run, about, chain, length, prompt, labels, vocabSize, facts}],
//                                           where `run` is what the command line calls it, and `facts` are [term, text] of
//                                           the model card; `caution` where texts may differ,
//                                           `isOtherChain` where the chain, of bundled samplers, is not the run's
//   generate(settings, onText, signal)      writes texts; calls onText(index, text); returns how each ended: {reasons, labels, unknown},
//                                           where labels are optional
//   next({model, prompt, label}, signal)    what may follow, likeliest first: [{text, logProbability, isEnd}]
//   score({model, prompt, label}, signal)   how likely a prompt is: {tokens: [{text, logProbability}], unknown}, where null
//                                           is for what is not predicted
// and may have:
//   states({model, prompt, label}, signal)  the network's state after each of the last tokens of a prompt: {texts, layers}
//   check()                                 whether it computes what textgen computes: {passed, cases}
// Settings are {model, prompt, label, n, length, temperature, topK, topP, minP, repetitionPenalty, stop, seed}, where
// `sampler` takes the place of the five numbers if the model has `isOtherChain`; what
// is undefined is left to the model. A seed is text. `unknown` is what the model does not know of a prompt, and what became
// of it: [{character, count, treatment}], where the treatment is 'skip' or 'unk'.

import {network} from './card.js';

const ROOT = new URL('../', import.meta.url);

const BITS = 1 / Math.LN2;

class EngineError extends Error {
  constructor(message, {needsKey = false} = {}) {
    super(message);
    this.needsKey = needsKey;
  }
}

class ServerEngine {
  #key = '';

  /** Send a key with every request from now on. */
  authorize(key) {
    this.#key = key;
  }

  async info() {
    const {data} = await (await this.#request('v1/models')).json();
    if (!data.length) throw new EngineError('The server has no model. Start it with one: textgen serve RUN.');
    return data.map(({id, textgen}) => ({
      id,
      run: textgen.run,
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
    let unknown = [];
    for await (const data of events(response)) {
      if (data === '[DONE]') return {reasons, unknown};
      const event = JSON.parse(data);
      if (event.error) throw new EngineError(sentence(event.error.message));
      for (const {index, text, finish_reason: reason, stop_reason: stopText, textgen} of event.choices) {
        if (text) onText(index, text);
        if (textgen) ({unknown} = textgen); // all texts have the same prompt
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
    const {choices: [{logprobs, textgen}]} = await (await this.#request('v1/completions', body, signal)).json();
    const tokens = logprobs.tokens.map((text, index) => ({text, logProbability: logprobs.token_logprobs[index]}));
    return {tokens, unknown: textgen.unknown};
  }

  /** GET, or POST with a body. */
  async #request(path, body, signal) {
    const headers = {...(body && {'Content-Type': 'application/json'}), ...(this.#key && {Authorization: `Bearer ${this.#key}`})};
    const options = body ? {method: 'POST', headers, body: json(body), signal} : {headers, signal};
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

/** A body as JSON, with the digits of a seed, which JSON.stringify would round. */
function json({seed, ...body}) {
  return JSON.stringify(body).replace('{', seed === undefined ? '{' : `{"seed":${seed},`);
}

/** The error that a refused request is. */
async function refusal(response) {
  if (response.status === 429) {
    const seconds = response.headers.get('Retry-After');
    return new EngineError(`The server is busy. Try again in ${seconds ?? 'a few'} ${seconds === '1' ? 'second' : 'seconds'}.`);
  }
  const {error} = await response.json().catch(() => ({}));
  if (error?.code === 'unknown_character') return new EngineError(`${sentence(error.message.split(';')[0])} Remove it from the prompt.`);
  if (response.status === 413 || error?.message.startsWith('prompt must be')) {
    const most = /at most [\d,]+ characters/.exec(error?.message);
    return new EngineError(`The prompt is too long for this server${most ? `, which takes ${most[0]}` : ''}. Shorten it.`);
  }
  if (error?.param === 'n') return new EngineError(`${sentence(error.message)} Choose fewer texts.`);
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
  return [network({cell, units}), size && `vocabulary of ${size.toLocaleString('en')}`, precision].filter(Boolean).join(', ');
}

/** The model card: terms and what is said of them. */
function facts({cell, units, vocab_size: size, precision, runtime, corpus, license, held_out_loss: loss}) {
  const found = {
    Network: network({cell, units}),
    Vocabulary: size?.toLocaleString('en'),
    'Trained on': corpus,
    'Licence of its text': license,
    'On text it has not seen': loss && `${(loss * BITS).toFixed(2)} bits per character`,
    Runtime: [runtime, precision].filter(Boolean).join(', '),
  };
  return Object.entries(found).filter(([, value]) => value);
}

export const engine = new ServerEngine();
