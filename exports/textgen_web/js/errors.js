/** What a person can fix: a bad option, a damaged file, a character that the model does not know. */
export class TextgenError extends Error {
  name = 'TextgenError';
}

/** What is said of files that cannot be used. */
export const damaged = (file, why) => new TextgenError(`${file} is damaged (${why}); export the run again`);
