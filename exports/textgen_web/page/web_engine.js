// The engine that needs no server: textgen.js in a worker, with the model beside the page or inside it. What an engine
// must be able to do is written down in the engine of `textgen serve`.

import {network} from './card.js';

class WebEngine {
  #worker;
  #calls = new Map(); // {resolve, reject, onText} by number
  #number = 0;

  async info() {
    const [from] = await Promise.all([source(), this.#start()]);
    const about = await this.#call('open', from);
    const {run, chain, length, prompt, labels, vocabSize, precision} = about;
    const caution = precision === 'fp32' ? '' : ` This page computes in ${precision}, so that the run itself may write another text.`;
    const isOtherChain = 'otherChain' in document.documentElement.dataset; // than the run's
    return [{id: run, run, about: describe(about), chain, isOtherChain, length, prompt, labels, vocabSize, facts: facts(about), card: about.card, caution}];
  }

  generate(settings, onText, signal) {
    return this.#call('generate', settings, signal, onText);
  }

  next(wishes, signal) {
    return this.#call('next', wishes, signal);
  }

  score(wishes, signal) {
    return this.#call('score', wishes, signal);
  }

  states(wishes, signal) {
    return this.#call('states', wishes, signal);
  }

  check() {
    return this.#call('check');
  }

  async #start() {
    this.#worker = await makeWorker();
    this.#worker.onmessage = ({data: {number, text, value, error}}) => {
      const call = this.#calls.get(number);
      if (!call) return; // it was aborted
      if (text) {
        call.onText(...text);
        return;
      }
      this.#calls.delete(number);
      if (error) call.reject(new Error(sentence(error)));
      else call.resolve(value);
    };
    this.#worker.onerror = event => {
      for (const {reject} of this.#calls.values()) reject(new Error('The worker of this page has failed. Load the page again.'));
      this.#calls.clear();
      event.preventDefault();
    };
  }

  /** Have the worker do something. */
  #call(method, argument, signal, onText) {
    const number = this.#number++;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#calls.set(number, {resolve, reject, onText});
      signal?.addEventListener('abort', () => {
        this.#worker.postMessage({number, method: 'stop'});
        this.#calls.delete(number);
        reject(signal.reason);
      });
      this.#worker.postMessage({number, method, argument});
    });
  }
}

/** What the page has inside it, if it is a page in one file. */
function inside(name) {
  const packed = document.getElementById(`packed-${name}`)?.textContent;
  if (!packed) return undefined;
  const letters = atob(packed), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')));
}

/** A page in one file has the worker's code inside it: a file:// page may start no other, a notebook of VS Code no blob:. */
async function makeWorker() {
  const code = await inside('worker')?.text();
  return code ? new Worker(`data:text/javascript,${encodeURIComponent(code)}`) : new Worker(new URL('page/worker.js', document.baseURI), {type: 'module'});
}

/** What textgen.js loads: the address of the folder, or the model inside the page. */
async function source() {
  try {
    const [model, weights] = await Promise.all([inside('model')?.json(), inside('weights')?.arrayBuffer()]);
    return model ? {model, weights} : new URL('.', document.baseURI).href;
  } catch {
    throw new Error('The model inside this page is damaged. Download the page again, or export the run again.');
  }
}

const sentence = message => message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? '' : '.');

function describe(about) {
  return `${network(about)}, vocabulary of ${about.vocabSize.toLocaleString('en')}, ${about.precision}`;
}

/** What is said of the model besides its card. */
function facts(about) {
  const slow = 'JavaScript alone, which is slow: this browser has no WebAssembly SIMD';
  return [
    ['Network', network(about)],
    ['Vocabulary', about.vocabSize.toLocaleString('en')],
    ['Licence of its text', about.license],
    ['Runs in', about.kernel === 'simd' ? `this browser, ${about.precision}, WebAssembly` : `this browser, ${about.precision}, ${slow}`],
  ];
}

export const engine = new WebEngine();
