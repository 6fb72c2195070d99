// The page: what happens when.

import {Bars} from './bars.js';
import {showCard} from './card.js';
import {PROMPT_FILE, command, isPossible, needsFile} from './command.js';
import {$, element, quoted} from './elements.js';
import {engine} from './engine.js';
import {Settings} from './settings.js';
import {StateMap} from './state.js';
import {Surprise} from './surprise.js';
import {Texts} from './texts.js';

/** The most characters of a prompt that are scored: it is read anew whenever typing pauses. */
const MOST_SCORED = 4000;

/** The most unknown characters of a prompt that are named. */
const MOST_NAMED = 10;

/** A text whose first letter is written from right to left. Chromium takes a minute for dir="auto" of 75,000 lines. */
const RIGHT_TO_LEFT = /^\P{L}*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** A page in a frame of a notebook has no address to keep settings in. */
const hasAddress = location.protocol !== 'about:';

const settings = new Settings();
const bars = new Bars(append);
const surprise = new Surprise();
const stateMap = new StateMap();
const texts = new Texts($('texts'), usePrompt, copy);

let models = [];
let lastSeed = newSeed(); // of the texts that are shown; before there are any, of the first ones
let written = null; // the settings of the texts that are shown
let writing = null; // an AbortController while texts are written
let asking = null; // the same while the engine is asked what may follow
let asked = ''; // what it was asked, as JSON
let followed = {}; // what `choices` follow
let choices = null;
let failed = null; // whose error is shown: write's or ask's
let wait = 0; // a timer, while settings change

function newSeed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/** Learn what models there are, and show the first one, or that of the link. */
async function start() {
  models = await engine.info();
  $('key-field').hidden = true;
  $('form').inert = false;
  $('model').replaceChildren(...models.map(({id}) => new Option(id)));
  $('model-field').hidden = models.length < 2;
  $('copy-link').hidden = !hasAddress;
  chooseModel(location.hash);
  check().catch(error => fail(error, check));
}

/** Show the model of a link, and the link's other settings. */
function chooseModel(hash) {
  const fragment = hash.slice(1), id = new URLSearchParams(fragment).get('model');
  const isThere = models.some(model => model.id === id);
  if (isThere) $('model').value = id;
  useModel();
  settings.reset();
  const refused = [...(isThere || !id ? [] : [['model', id]]), ...settings.follow(fragment)];
  if (failed === chooseModel) clear();
  if (refused.length) {
    const listed = refused.map(([name, value]) => `${name} “${value}”`).join(', ');
    fail(new Error(`The link asks for what this page does not have: ${listed}. It shows its own choice instead.`), chooseModel);
  }
  changed();
}

function useModel() {
  const model = models.find(({id}) => id === $('model').value);
  $('about').textContent = models.length < 2 ? [model.id, model.about].filter(Boolean).join(': ') : model.about;
  document.title = `${model.id} – textgen`;
  showCard(model.facts, model.card);
  settings.use(model);
}

/** Say whether the engine computes what textgen computes; a server has no need to. */
async function check() {
  if (!engine.check) return;
  const {passed, cases} = await engine.check();
  const differs = 'This browser does not compute what textgen computes: texts may differ.';
  $('check').textContent = passed ? `Checked in this browser: ${cases} of ${cases} test cases as textgen computes them.` : differs;
  $('check').hidden = false;
  if (!passed) fail(new Error(`${differs} Try another browser, or export the model again.`), check);
}

/** Settings are others than before: the command line, the bars and, a moment later, the address follow. */
function changed() {
  $('prompt').dir = RIGHT_TO_LEFT.test($('prompt').value) ? 'rtl' : 'ltr';
  $('new-seed').disabled = $('seed').value === '';
  if (!$('form').checkValidity()) return;
  showCommand();
  showBars();
  clearTimeout(wait);
  wait = setTimeout(settled, 150);
}

function settled() {
  if (hasAddress) history.replaceState(null, '', `#${settings.fragment()}`);
  const {model, prompt, label} = settings.read();
  if (JSON.stringify([model, prompt, label]) !== asked) ask({model, prompt, label});
}

/** The command line of the texts that are shown; before there are any, of the first ones. */
function showCommand() {
  const wishes = settings.read(), shown = written ?? {...wishes, seed: wishes.seed ?? lastSeed}, words = command(shown);
  const hasCommand = isPossible(shown);
  $('command').hidden = $('copy-command').hidden = !hasCommand;
  if (!hasCommand) {
    $('command-help').textContent = 'There is no such command: none can carry the character NUL, which the prompt or the stop text has.';
    return;
  }
  $('command').replaceChildren(...words.split(/(?<= )(?=--)/).map(textContent => element('span', {textContent})));
  const save = needsFile(shown) ? ` Save the prompt as ${PROMPT_FILE} there, with a line end after it.` : '';
  $('command-help').textContent = `Run it in the folder that holds the run.${save}${settings.model.caution ?? ''}`;
}

/** Ask what may follow the prompt. */
async function ask(wishes) {
  asking?.abort();
  asking = new AbortController();
  asked = JSON.stringify(Object.values(wishes));
  try {
    const isScored = wishes.prompt && wishes.prompt.length <= MOST_SCORED, {signal} = asking;
    const [next, scored, states] = await Promise.all([
      engine.next(wishes, signal),
      isScored ? engine.score(wishes, signal) : {tokens: [], unknown: []},
      isScored && engine.states ? engine.states(wishes, signal) : {texts: [], layers: []},
    ]);
    choices = next;
    followed = wishes;
    if (failed === ask) clear();
    showBars();
    showUnknown(scored.unknown);
    surprise.show(scored.tokens, whyNoBits(wishes.prompt, scored.unknown));
    stateMap.show(states.texts, states.layers);
  } catch (error) {
    if (error.name === 'AbortError') return;
    asked = '';
    showUnknown([]);
    surprise.show([]);
    stateMap.show([], []);
    fail(error, ask);
  }
}

/** Why there are no bits per character of a prompt; empty if there are. */
function whyNoBits(prompt, unknown) {
  if (unknown.length) return 'No bits per character: the model does not know all of the prompt.';
  return prompt.length > MOST_SCORED ? `Not of prompts of more than ${MOST_SCORED.toLocaleString('en')} characters.` : '';
}

/** Say which characters of the prompt the model does not know, and what becomes of them. */
function showUnknown(unknown) {
  const became = {skip: 'left out', unk: 'read as “unknown”'};
  const sentences = Object.entries(became).map(([treatment, how]) => {
    const some = unknown.filter(each => each.treatment === treatment);
    const named = some.slice(0, MOST_NAMED).map(({character, count}) => quoted(character) + (count > 1 ? ` (${count.toLocaleString('en')} times)` : ''));
    return some.length && `Not known to the model, and ${how}: ${named.join(', ')}${some.length > MOST_NAMED ? ' and others' : ''}.`;
  });
  $('unknown').textContent = sentences.filter(Boolean).join(' ');
  $('unknown').hidden = !unknown.length;
}

function showBars() {
  if (!choices) return;
  const isDrawn = followed.prompt || settings.model.labels.length; // or counted: how often texts begin so
  bars.show(followed.prompt, choices, isDrawn ? settings.chain() : []);
}

/** Write the texts of the settings with a seed. */
async function write(seed) {
  if (!$('form').reportValidity()) return;
  writing?.abort();
  const own = writing = new AbortController();
  const wishes = {...settings.read(), seed}, began = performance.now();
  written = wishes;
  lastSeed = seed;
  clear();
  showCommand();
  texts.begin(wishes.prompt, wishes.n);
  $('stop').disabled = false;
  $('status').textContent = 'Writing …';
  let ended = {reasons: []}, hasFailed = false;
  try {
    const show = (index, text) => own === writing && texts.add(index, text);
    ended = await engine.generate(wishes, show, own.signal);
    if (wishes.prompt === settings.read().prompt) showUnknown(ended.unknown);
  } catch (error) {
    hasFailed = fail(error, write);
  }
  if (own !== writing) return;
  writing = null;
  texts.end(ended);
  if (document.activeElement === $('stop')) $('write').focus();
  $('stop').disabled = true;
  $('again').disabled = false;
  const seconds = (performance.now() - began) / 1000, count = texts.characters;
  const done = `Seed ${seed}. ${count.toLocaleString('en')} characters in ${seconds.toFixed(1)} seconds.`;
  $('status').textContent = hasFailed && !count ? 'Nothing was written.' : done;
}

function append(text) {
  usePrompt($('prompt').value + text);
}

function usePrompt(text) {
  $('prompt').value = text;
  $('prompt').scrollTop = $('prompt').scrollHeight;
  changed();
}

async function copy(text, button, said = 'Copied.') {
  const label = button.dataset.label ??= button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // over plain HTTP from another machine there is no clipboard to write to
    button.focus();
  }
  button.textContent = 'Copied';
  $('status').textContent = said;
  setTimeout(() => { button.textContent = label; }, 1500);
}

function copyBySelection(text) {
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** Show an error, and remember what failed. Returns whether it is one: to stop is none. */
function fail(error, what) {
  if (error.name === 'AbortError') return false;
  failed = what;
  $('error').textContent = error.message;
  $('error').hidden = false;
  $('error').scrollIntoView({block: 'nearest'});
  $('key-field').hidden = !error.needsKey;
  if (error.needsKey) $('key').focus();
  return true;
}

function clear() {
  $('error').hidden = true;
}

$('form').addEventListener('input', changed);
$('form').addEventListener('submit', event => {
  event.preventDefault();
  write(settings.read().seed ?? (written ? newSeed() : lastSeed));
});
$('prompt').addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('form').requestSubmit();
});
$('form').addEventListener('keydown', event => {
  if (event.key === 'Escape') writing?.abort();
});
$('again').addEventListener('click', () => write(lastSeed));
$('stop').addEventListener('click', () => writing?.abort());
$('new-seed').addEventListener('click', () => {
  settings.forgetSeed();
  $('seed').focus();
  changed();
});
$('reset').addEventListener('click', () => {
  useModel();
  settings.reset();
  changed();
});
$('copy-command').addEventListener('click', event => copy($('command').textContent, event.currentTarget));
$('copy-link').addEventListener('click', event => {
  const {seed} = settings.read(), fragment = new URLSearchParams(settings.fragment());
  fragment.set('seed', seed ?? lastSeed);
  const said = settings.isLinked ? 'Copied.' : 'Copied, but without the prompt: it is too long for a link.';
  copy(`${location.href.split('#')[0]}#${fragment}`, event.currentTarget, said);
});
$('key-field').addEventListener('submit', event => {
  event.preventDefault();
  engine.authorize($('key').value);
  clear();
  start().catch(error => fail(error, start));
});
$('model').addEventListener('change', () => {
  useModel();
  changed();
});
addEventListener('hashchange', ({newURL}) => chooseModel(new URL(newURL).hash)); // `settled` may have replaced location.hash
addEventListener('pagehide', () => writing?.abort()); // a browser may keep a page that is left for a while
start().catch(error => fail(error, start));
