// The controls, what they mean for the engine, and the link that carries them.

import {$} from './elements.js';
import {editChain, readChain, writeChain} from './sampling.js';

/** Controls of samplers: the sampler in a chain, and the value with which it changes nothing. */
const SAMPLERS = {
  temperature: {sampler: 'temperature', neutral: 1},
  'top-k': {sampler: 'top-k', neutral: Infinity},
  'top-p': {sampler: 'top-p', neutral: 1},
  'min-p': {sampler: 'min-p', neutral: 0},
  'repetition-penalty': {sampler: 'repetition-penalty', neutral: 1},
};

/** Names in a link, and the controls that they stand for. */
const LINKED = {
  prompt: 'prompt', label: 'label', temperature: 'temperature', 'top-k': 'top-k', 'top-p': 'top-p', 'min-p': 'min-p',
  'repetition-penalty': 'repetition-penalty', stop: 'stop-text', length: 'length', texts: 'texts-count', seed: 'seed',
};

/** The settings that are under "More". */
const HIDDEN = ['min-p', 'repetition-penalty', 'stop-text'];

/** The most characters of a prompt in a link: browsers and chat programs cut longer ones. */
const MOST_LINKED = 4000;

/** What a backslash and a letter stand for in a stop text. */
const LETTERS = {n: '\n', t: '\t', '\\': '\\'};

/** Seeds are below this: more than the numbers of JavaScript can tell apart, so that they stay text. */
const SEEDS = 2n ** 64n;

export class Settings {
  model; // whose defaults are shown
  #steps = []; // the values of the slider of top-k

  constructor() {
    for (const name of Object.keys(SAMPLERS)) {
      $(name).addEventListener('input', () => this.#moveSlider(name));
      $(`${name}-slider`).addEventListener('input', () => this.#readSlider(name));
    }
    $('seed').addEventListener('input', () => this.#checkSeed());
  }

  /** Show the defaults of a model; the prompt stays if the model has none of its own, the seed and the number of texts always. */
  use(model) {
    this.model = model;
    this.#steps = steps(model.vocabSize ?? 1000);
    $('top-k-slider').max = this.#steps.length;
    $('length').value = model.length ?? 200;
    if (model.prompt) $('prompt').value = model.prompt;
    $('label').replaceChildren(...['', ...model.labels].map(label => new Option(label || 'any', label)));
    $('label-field').hidden = !model.labels.length;
    for (const name of Object.keys(SAMPLERS)) this.#set(name, this.#own(name));
    $('stop-text').value = '';
  }

  /** Show the defaults of what no model has a say in. */
  reset() {
    $('texts-count').value = 1;
    this.forgetSeed();
  }

  forgetSeed() {
    $('seed').value = '';
    this.#checkSeed();
  }

  /** The settings as an engine takes them; what is undefined is left to the model. */
  read() {
    const stop = $('stop-text').value.replace(/\\([nt\\])/g, (_, letter) => LETTERS[letter]);
    return {
      model: this.model.id,
      run: this.model.run,
      prompt: $('prompt').value.toWellFormed?.() ?? $('prompt').value,
      label: $('label').value || undefined,
      n: $('texts-count').valueAsNumber,
      length: $('length').valueAsNumber,
      ...(this.model.isOtherChain ? {sampler: writeChain(this.chain())} : {
        temperature: this.#wish('temperature'),
        topK: this.#wish('top-k'),
        topP: this.#wish('top-p'),
        minP: this.#wish('min-p'),
        repetitionPenalty: this.#wish('repetition-penalty'),
      }),
      stop: stop || undefined,
      seed: $('seed').value.replace(/^0+(?=.)/, '') || undefined,
    };
  }

  /** The chain that draws, as links. */
  chain() {
    const wishes = Object.keys(SAMPLERS).map(name => [SAMPLERS[name].sampler, this.#wish(name)]);
    return editChain(readChain(this.model.chain), Object.fromEntries(wishes.filter(([, value]) => value !== undefined)));
  }

  /** Whether a link can carry the prompt. */
  get isLinked() {
    return $('prompt').value.length <= MOST_LINKED;
  }

  /** What follows the # of a link to these settings; a prompt that is too long for one is left out. */
  fragment() {
    const linked = Object.entries(LINKED).filter(([name]) => name !== 'prompt' || this.isLinked);
    const found = linked.map(([name, id]) => [name, $(id).value]);
    const filled = found.filter(([name, value]) => value !== '' || name === 'prompt');
    return new URLSearchParams([['model', this.model.id], ...filled]).toString();
  }

  /**
   * Take the settings of a link; any that it lacks stay, and so do those that it has but a control does not take.
   * @returns {[string, string][]} names and values of the latter.
   */
  follow(fragment) {
    const values = new URLSearchParams(fragment), refused = [];
    for (const [name, id] of Object.entries(LINKED)) {
      if (!values.has(name)) continue;
      const control = $(id), before = control.value, value = values.get(name);
      control.value = value;
      this.#checkSeed();
      if (control.checkValidity() && (control.value || !value)) continue;
      control.value = before;
      refused.push([name, value]);
    }
    this.#checkSeed();
    for (const name of Object.keys(SAMPLERS)) this.#moveSlider(name);
    if (HIDDEN.some(id => $(id).value !== String(this.#own(id) ?? ''))) $('more').open = true;
    return refused;
  }

  #checkSeed() {
    const {value} = $('seed'), isSeed = /^\d*$/.test(value) && BigInt(value) < SEEDS;
    $('seed').setCustomValidity(isSeed ? '' : `A seed is a whole number from 0 to ${SEEDS - 1n}.`);
  }

  /** A number to ask for, or undefined where it is the model's own. */
  #wish(name) {
    const links = readChain(this.model.chain), {sampler} = SAMPLERS[name];
    const value = this.#value(name), shown = name === 'temperature' && links.at(-1).name === 'multinomial';
    const has = links.some(link => link.name === sampler);
    if (value === this.#own(name) && !(shown && has)) return undefined;
    return value === Infinity ? this.model.vocabSize : value;
  }

  #value(name) {
    return $(name).value === '' ? SAMPLERS[name].neutral : $(name).valueAsNumber;
  }

  /** The value of the model's own chain. */
  #own(name) {
    if (!(name in SAMPLERS)) return undefined;
    const links = readChain(this.model.chain), {sampler, neutral} = SAMPLERS[name];
    const found = links.find(link => link.name === sampler);
    return found?.value ?? (name === 'temperature' && links.at(-1).name === 'greedy' ? 0 : neutral);
  }

  #set(name, value) {
    $(name).value = value === Infinity ? '' : value;
    this.#moveSlider(name);
  }

  /** The slider follows the number. */
  #moveSlider(name) {
    const slider = $(`${name}-slider`), value = this.#value(name);
    if (name === 'top-k') {
      const at = this.#steps.findIndex(step => step >= value);
      slider.value = at < 0 ? this.#steps.length : at;
      slider.ariaValueText = $(name).value || 'all';
    } else {
      slider.value = value;
    }
    slider.style.setProperty('--filled', (slider.value - slider.min) / (slider.max - slider.min));
  }

  /** The number follows the slider. */
  #readSlider(name) {
    const {valueAsNumber: at} = $(`${name}-slider`);
    $(name).value = name === 'top-k' ? this.#steps[at] ?? '' : at;
    this.#moveSlider(name);
  }
}

/** Whole numbers from 1, each by a fifth larger, below a size: the values of a slider that shows 1 as well as 5,000. */
function steps(size) {
  const found = [];
  for (let value = 1; value < size; value = Math.max(value + 1, Math.round(value * 1.2))) found.push(value);
  return found;
}
