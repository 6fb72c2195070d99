// The texts, as they come.

import {element} from './elements.js';

const ENDS = {end: 'end', stop: 'stop text', length: 'length'};

/** The most characters of a prompt that are shown before a text. */
const MOST_SHOWN = 5000;

/** Milliseconds of a frame. */
const FRAME = 16;

export class Texts {
  #cards = [];
  #waiting = new Map(); // text that is shown next, by index
  #timer = 0;
  #pause = FRAME; // milliseconds until then

  /**
   * @param {HTMLElement} root
   * @param {(text: string) => void} onContinue called with a text that is to become the prompt.
   * @param {(text: string, button: HTMLButtonElement) => void} onCopy
   */
  constructor(root, onContinue, onCopy) {
    Object.assign(this, {root, onContinue, onCopy});
  }

  /** Begin anew: n empty texts after a prompt. */
  begin(prompt, n) {
    this.#waiting.clear();
    this.#pause = FRAME;
    this.#cards = Array.from({length: n}, (_, index) => this.#card(prompt, n > 1 ? `Text ${index + 1}` : 'Text'));
    this.root.replaceChildren(...this.#cards.map(({card}) => card));
    this.root.classList.toggle('several', n > 1);
  }

  /** Continue a text; it is shown a moment later, since hundreds of pieces may come in one frame. */
  add(index, text) {
    this.#waiting.set(index, (this.#waiting.get(index) ?? '') + text);
    this.#timer ||= setTimeout(() => this.#flush(), this.#pause);
  }

  /** Say how each text ended, and the label that it has drawn; those without a reason were stopped. */
  end({reasons, labels = []}) {
    this.#flush();
    this.#cards.forEach(({card, end, tools}, index) => {
      card.classList.remove('writing');
      end.textContent = [ENDS[reasons[index]] ?? 'stopped', labels[index] && `label ${labels[index]}`].filter(Boolean).join(', ');
      tools.hidden = false;
    });
  }

  /** Characters written so far, of all texts. */
  get characters() {
    return this.#cards.reduce((sum, {written}) => sum + [...written.data].length, 0);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const began = performance.now();
    for (const [index, text] of this.#waiting) {
      const {written, body} = this.#cards[index];
      const isFollowed = this.#cards.length === 1 && body.scrollTop + body.clientHeight >= body.scrollHeight - 4;
      written.appendData(text);
      if (isFollowed) body.scrollTop = body.scrollHeight;
    }
    this.#waiting.clear();
    this.root.getBoundingClientRect(); // lays out, which takes long for long texts: the buttons must work all the same
    this.#pause = Math.max(FRAME, 4 * (performance.now() - began));
  }

  #card(prompt, name) {
    const written = document.createTextNode('');
    const card = element('article', {className: 'text writing', ariaLabel: name});
    const body = element('p', {className: 'body', tabIndex: 0, dir: 'auto'});
    const end = element('span', {className: 'end'}), tools = element('span', {className: 'tools', hidden: true});
    const foot = element('div', {className: 'foot'});
    const copy = element('button', {type: 'button', className: 'quiet', textContent: 'Copy', ariaLabel: `Copy ${name.toLowerCase()}`});
    const go = element('button', {type: 'button', className: 'quiet', textContent: 'Use as prompt', ariaLabel: `Use ${name.toLowerCase()} as prompt`});
    copy.addEventListener('click', () => this.onCopy(prompt + written.data, copy));
    go.addEventListener('click', () => this.onContinue(prompt + written.data));
    const shown = prompt.length > MOST_SHOWN ? `…${prompt.slice(-MOST_SHOWN).toWellFormed?.() ?? ''}` : prompt;
    body.append(element('span', {className: 'prompt', textContent: shown}), written);
    tools.append(copy, go);
    foot.append(end, tools);
    card.append(body, foot);
    return {card, body, written, end, tools};
  }
}
