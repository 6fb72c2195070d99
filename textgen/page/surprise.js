// How much each character of the prompt surprises the model: in colour, and in bits.

import {$, element, percentage, quoted} from './elements.js';

/** The bits from which on a character has the next darker colour. */
const LEVELS = [1, 2, 4, 6, 8];

/** What belongs to the character before it: accents, joiners and what they join, skin tones. */
const JOINED = /^[\p{Mark}\p{Emoji_Modifier}\u200d]/u;

export class Surprise {
  #marks = []; // {text, bits} of each character that is seen, and its element
  #at = -1;

  constructor() {
    $('surprise').addEventListener('pointerover', ({target}) => this.#choose(this.#indexOf(target)));
    $('surprise').addEventListener('click', ({target}) => this.#choose(this.#indexOf(target)));
    $('surprise').addEventListener('keydown', event => this.#move(event));
  }

  /**
   * Show a text.
   * @param {{text: string, logProbability: number | null}[]} scored its tokens: `engine.score`'s answer.
   * @param {string} [missing] why there are no bits per character.
   */
  show(scored, missing = '') {
    const known = scored.filter(({logProbability}) => logProbability !== null);
    const characters = known.reduce((sum, {text}) => sum + [...text].length, 0);
    const nats = known.reduce((sum, {logProbability}) => sum - logProbability, 0);
    const mean = characters ? `This prompt: ${(nats / Math.LN2 / characters).toFixed(2)} bits per character.` : '';
    $('bits').textContent = missing || mean;
    this.#marks = joined(scored).map((mark, index) => ({...mark, root: option(mark, index)}));
    this.#at = -1;
    $('surprise').replaceChildren(...this.#marks.map(({root}) => root));
    $('surprise').hidden = $('surprise-legend').hidden = !characters;
    $('surprise').removeAttribute('aria-activedescendant');
    $('surprise-at').textContent = characters ? 'Point at a character, or move with the arrow keys.' : '';
  }

  #indexOf(target) {
    return this.#marks.findIndex(({root}) => root === target);
  }

  #choose(index) {
    if (!this.#marks[index]) return;
    this.#marks[this.#at]?.root.setAttribute('aria-selected', 'false');
    this.#at = index;
    const {root} = this.#marks[index];
    root.setAttribute('aria-selected', 'true');
    $('surprise').setAttribute('aria-activedescendant', root.id);
    $('surprise-at').textContent = root.ariaLabel;
  }

  #move(event) {
    const isReversed = getComputedStyle($('surprise')).direction === 'rtl', last = this.#marks.length - 1;
    const ahead = isReversed ? 'ArrowLeft' : 'ArrowRight', back = isReversed ? 'ArrowRight' : 'ArrowLeft';
    const to = {[ahead]: Math.min(this.#at + 1, last), [back]: Math.max(this.#at - 1, 0), Home: 0, End: last}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(to);
    this.#marks[to].root.scrollIntoView({block: 'nearest'});
  }
}

/** Tokens with what belongs to them, and the bits of both together; no bits if the model does not predict it. */
function joined(scored) {
  const marks = [];
  for (const {text, logProbability} of scored) {
    const bits = logProbability === null ? undefined : -logProbability / Math.LN2, last = marks.at(-1);
    if (last && (JOINED.test(text) || last.text.endsWith('\u200d'))) {
      last.text += text;
      last.bits = last.bits === undefined ? bits : last.bits + (bits ?? 0);
    } else if (text) {
      marks.push({text, bits});
    }
  }
  return marks;
}

function option({text, bits}, index) {
  const shown = text.replaceAll('\n', '↵\n');
  const how = bits === undefined ? 'not predicted, since nothing comes before it' : `${percentage(2 ** -bits)}, ${bits.toFixed(1)} bits`;
  const root = element('span', {role: 'option', id: `surprise-${index}`, textContent: shown, ariaLabel: `${quoted(text)}: ${how}`, ariaSelected: 'false'});
  root.dataset.level = bits === undefined ? 0 : LEVELS.filter(level => bits >= level).length;
  return root;
}
