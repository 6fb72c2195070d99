/** What a person can fix: a bad option, a damaged file, a character that the model does not know. */
export class TextgenError extends Error {
  name = 'TextgenError';
}
