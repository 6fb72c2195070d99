// The state of the network, as it reads the prompt: a map of colours.

import {$, element, quoted, visible} from './elements.js';

/** Pixels: the width of a column, and about the height and the width of the map. */
const NARROWEST = 16, WIDEST = 40, HEIGHT = 288, WIDTH = 480;

export class StateMap {
  #texts = []; // what was read, by column
  #layers = []; // the states after it: a Float32Array per layer, column by column
  #at = null; // {column, unit} that is described

  constructor() {
    $('layer').addEventListener('change', () => this.#draw());
    $('heat').addEventListener('pointermove', event => this.#point(event));
    $('heat').addEventListener('pointerdown', event => this.#point(event));
    $('heat').addEventListener('keydown', event => this.#move(event));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => $('state').hidden || this.#draw());
  }

  /**
   * Show states.
   * @param {string[]} texts what was read, token by token.
   * @param {Float32Array[]} layers the state of each layer after each token, one after the other, from -1 to 1.
   */
  show(texts, layers) {
    this.#texts = texts;
    this.#layers = layers;
    this.#at = null;
    $('state').hidden = !texts.length || !layers.length;
    $('layer-field').hidden = layers.length < 2;
    if ($('layer').options.length !== layers.length) {
      $('layer').replaceChildren(...layers.map((_, index) => new Option(index + 1, index)));
    }
    $('heat-text').replaceChildren(...texts.map(text => {
      const mark = element('span', {textContent: visible(text)});
      mark.style.width = `${this.#width}px`;
      return mark;
    }));
    if (!$('state').hidden) this.#draw();
  }

  /** Of a column. */
  get #width() {
    return Math.max(NARROWEST, Math.min(Math.floor(WIDTH / this.#texts.length), WIDEST));
  }

  get #values() {
    return this.#layers[Number($('layer').value)];
  }

  get #units() {
    return this.#values.length / this.#texts.length;
  }

  /** One pixel of the canvas is one number; the style enlarges them. */
  #draw() {
    const canvas = $('heat'), columns = this.#texts.length, units = this.#units, values = this.#values;
    const [low, zero, high] = ['--low', '--zero', '--high'].map(color);
    canvas.width = columns;
    canvas.height = units;
    canvas.style.width = `${columns * this.#width}px`;
    canvas.style.height = `${units * Math.max(1, Math.round(HEIGHT / units))}px`;
    const context = canvas.getContext('2d'), image = context.createImageData(columns, units);
    for (let column = 0; column < columns; column++) {
      for (let unit = 0; unit < units; unit++) {
        const value = values[column * units + unit], to = value < 0 ? low : high, share = Math.min(1, Math.abs(value));
        const pixel = 4 * (unit * columns + column);
        for (let channel = 0; channel < 3; channel++) image.data[pixel + channel] = zero[channel] + share * (to[channel] - zero[channel]);
        image.data[pixel + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    canvas.ariaLabel = `State of ${units} units after each of ${columns} characters, from -1 to 1`;
    this.#describe();
  }

  #point({offsetX, offsetY}) {
    const {clientWidth, clientHeight} = $('heat');
    this.#at = {column: Math.floor(offsetX / clientWidth * this.#texts.length), unit: Math.floor(offsetY / clientHeight * this.#units)};
    this.#describe();
  }

  #move(event) {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!step) return;
    event.preventDefault();
    const {column, unit} = this.#at ?? {column: -step[0], unit: -step[1]};
    this.#at = {column: column + step[0], unit: unit + step[1]};
    this.#describe();
    $('heat-text').children[this.#at.column].scrollIntoView({block: 'nearest', inline: 'nearest'});
  }

  #describe() {
    const clamp = (value, size) => Math.max(0, Math.min(value, size - 1));
    const marks = [...$('heat-text').children];
    if (!this.#at) {
      $('heat-at').textContent = 'Point at a cell, or move with the arrow keys.';
      return;
    }
    const column = clamp(this.#at.column, this.#texts.length), unit = clamp(this.#at.unit, this.#units);
    this.#at = {column, unit};
    marks.forEach((mark, index) => mark.classList.toggle('at', index === column));
    const text = this.#texts[column], value = this.#values[column * this.#units + unit];
    $('heat-at').textContent = `Unit ${unit + 1} after ${quoted(text)}: ${value.toFixed(3)}`;
  }
}

/** Red, green and blue of a custom property, from 0 to 255. */
function color(name) {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
}
