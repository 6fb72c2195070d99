// The command line that writes the same text.

/** Options of `textgen sample` by the names of settings. */
const OPTIONS = {
  prompt: '--prompt', label: '--label', n: '--num', length: '--length', temperature: '--temperature', topK: '--top-k',
  topP: '--top-p', minP: '--min-p', repetitionPenalty: '--repetition-penalty', sampler: '--sampler', stop: '--stop', seed: '--seed',
};

const ESCAPES = {'\n': '\\n', '\t': '\\t', '\r': '\\r', '\\': '\\\\', "'": "\\'"};

/** The most characters of a prompt on a command line: Linux takes words of up to 128 KiB. */
const LONGEST = 20_000;

/** The file that holds a prompt that is longer. */
export const PROMPT_FILE = 'prompt.txt';

/** Whether a prompt has to be in a file. */
export const needsFile = ({prompt}) => prompt.length > LONGEST;

/** Whether a command can have these settings: a word ends before the character NUL. */
export const isPossible = settings => Object.values(settings).every(value => !String(value).includes('\0'));

/**
 * `textgen sample` with settings; those that are undefined are left to the run.
 * @param {object} settings as `engine.generate` takes them.
 */
export function command(settings) {
  const words = ['textgen', 'sample', quote(settings.run)];
  if (needsFile(settings)) words.push(`--prompt-file ${PROMPT_FILE}`);
  for (const [name, option] of Object.entries(OPTIONS)) {
    const value = name === 'prompt' && needsFile(settings) ? undefined : settings[name];
    if (value === undefined || (name === 'n' && value === 1)) continue;
    const text = String(value);
    words.push(text.startsWith('-') ? `${option}=${quote(text)}` : `${option} ${quote(text)}`);
  }
  return words.join(' ');
}

/** A word as a shell reads it; with control characters it needs $'...', which all shells but the oldest know. */
export function quote(text) {
  if (/^[\w.,:/@%+=-]+$/.test(text)) return text;
  if (!/[\x00-\x1f\x7f]/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const octal = character => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  return `$'${text.replace(/[\x00-\x1f\x7f\\']/g, character => ESCAPES[character] ?? octal(character))}'`;
}
