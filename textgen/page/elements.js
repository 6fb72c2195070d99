// What all of the page needs: its elements, and characters and numbers as people read them.

export const $ = id => document.getElementById(id);

export function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

/** Characters that cannot be seen, by name. */
const NAMES = {' ': 'space', '\n': 'line end', '\t': 'tab', '\u00a0': 'no-break space'};

/** The name of a text that cannot be seen, if it is one. */
export const nameOf = text => NAMES[text];

/** A text in quotes; the name or the code of one that cannot be seen. */
export function quoted(text) {
  const code = /^[\p{C}\p{Z}\p{M}]$/u.test(text) && `U+${text.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
  return nameOf(text) ?? (code || `“${visible(text)}”`);
}

/** A text on one line, with marks for what cannot be seen. */
export function visible(text) {
  return text.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥');
}

/** A probability in per cent, so that only 0 is shown as 0. */
export function percentage(share) {
  if (share === 0) return '0 %';
  return share < 0.001 ? '< 0.1 %' : `${(100 * share).toFixed(share < 0.9995 ? 1 : 0)} %`;
}
