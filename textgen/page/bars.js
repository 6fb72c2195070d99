// Bars of what may follow the prompt.

import {$, element, nameOf, percentage, visible} from './elements.js';
import {draw, unknownLinks} from './sampling.js';

/** Bars that are shown. */
const MOST = 12;

export class Bars {
  #items = [];
  #choices = [];

  /** @param {(text: string) => void} onChoice called with the text of a bar that was clicked. */
  constructor(onChoice) {
    for (let index = 0; index < MOST; index++) {
      const button = element('button', {type: 'button', className: 'bar'});
      const parts = {mark: element('span', {className: 'mark'}), share: element('span', {className: 'share'})};
      button.append(parts.mark, element('span', {className: 'track'}), parts.share);
      button.addEventListener('click', () => onChoice(this.#choices[index].text));
      const item = element('li', {hidden: true});
      item.append(button);
      this.#items.push({item, button, ...parts});
    }
    $('bars').append(...this.#items.map(({item}) => item));
  }

  /**
   * Show the probabilities with which a chain draws, beside those of the model.
   * @param {string} prompt
   * @param {{text: string, logProbability: number, isEnd: boolean}[]} choices that may follow it: `engine.next`'s answer.
   * @param {{name: string, value: number}[]} links of the chain; none if what comes next is drawn without it.
   */
  show(prompt, choices, links) {
    this.#choices = choices;
    const own = choices.map(choice => choice.logProbability);
    const drawn = draw(own, links), missing = unknownLinks(links);
    const unknown = missing.length ? ` ${missing.join(', ')} left out: it depends on more.` : '';
    const drawing = links.length ? 'Bar: with your settings. Line: without.' : 'As training texts begin, whatever the settings.';
    const how = choices.length ? `${drawing} Click to append.` : 'This model needs a prompt.';
    $('next-title').textContent = prompt ? `Next after “${tail(prompt)}”` : 'A text begins with';
    $('next-help').textContent = how + unknown;
    $('bars').classList.toggle('counted', !links.length);
    $('bars').style.setProperty('--scale', scale(Math.max(...drawn, Math.exp(own[0]))));
    this.#items.forEach(({item, button, mark, share}, index) => {
      const choice = choices[index];
      item.hidden = !choice;
      if (!choice) return;
      const percent = percentage(drawn[index]), name = choice.isEnd ? 'end' : nameOf(choice.text);
      mark.textContent = name ?? visible(choice.text);
      mark.classList.toggle('named', Boolean(name));
      share.textContent = percent;
      button.disabled = choice.isEnd || choice.text.includes('\ufffd');
      button.classList.toggle('out', drawn[index] === 0);
      button.ariaLabel = `${name ?? choice.text}, ${percent}`;
      button.style.setProperty('--share', drawn[index]);
      button.style.setProperty('--own', Math.exp(own[index]));
    });
    const rest = drawn.slice(MOST).filter(share => share > 0);
    const sum = rest.reduce((total, share) => total + share, 0);
    const known = own.reduce((total, logProbability) => total + Math.exp(logProbability), 0);
    const missed = known < 0.999 ? ` Less likely ones than these ${own.length} are left out.` : '';
    $('next-rest').textContent = rest.length ? `${rest.length} others: ${percentage(sum)} together.${missed}` : '';
  }
}

/** The probability at the right end of the bars. */
function scale(largest) {
  return [0.1, 0.2, 0.5].find(end => largest <= end) ?? 1;
}

/** The last characters of a text, on one line. */
function tail(text) {
  const characters = [...text];
  return (characters.length > 12 ? '…' : '') + characters.slice(-12).join('').replaceAll('\n', '↵');
}
