// Elements of the page: found, and made.

export const $ = id => document.getElementById(id);

export function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
