// The model card.

import {$, element} from './elements.js';

/** What kind of network a model is, in a few words; none is known of some models of plugins. */
export function network({cell, units}) {
  if (units.length) return `${cell.toUpperCase()} ${units.join(' + ')}`;
  return !cell || cell === 'ngram' ? 'n-gram' : cell;
}

/**
 * Show what is known of a model.
 * @param {[string, string][]} facts terms, and what is said of them.
 * @param {string} [markdown] a card as textgen writes it: headings, paragraphs, lists and tables.
 */
export function showCard(facts, markdown = '') {
  $('facts').replaceChildren(...facts.flatMap(([term, value]) => [
    element('dt', {textContent: term}), element('dd', {textContent: value, dir: 'auto'}),
  ]));
  const lines = markdown.replaceAll('`', '').split('\n').filter(line => line.trim() && !line.startsWith('# '));
  $('card-text').replaceChildren();
  for (const line of lines) {
    if (line.startsWith('## ')) $('card-text').append(element('h3', {textContent: line.slice(3)}));
    else if (line.startsWith('- ')) last('ul').append(element('li', {textContent: line.slice(2)}));
    else if (line.startsWith('|')) addRow(last('table'), line.split('|').slice(1, -1).map(cell => cell.trim()));
    else $('card-text').append(element('p', {textContent: line}));
  }
}

/** The last element of the card if it has this name; otherwise a new one. */
function last(name) {
  const found = $('card-text').lastElementChild;
  if (found?.localName === name) return found;
  return $('card-text').appendChild(element(name, {}));
}

function addRow(table, cells) {
  if (cells.every(cell => /^-+$/.test(cell))) return;
  const row = table.insertRow(), name = table.rows.length === 1 ? 'th' : 'td';
  row.append(...cells.map(textContent => element(name, {textContent})));
}
