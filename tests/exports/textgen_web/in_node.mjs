// Reads jobs from stdin, as JSON; writes the results to stdout.

import {readFileSync} from 'node:fs';
import {pathToFileURL} from 'node:url';
import {write} from './texts.mjs';

const results = [];
for (const job of JSON.parse(readFileSync(0, 'utf8'))) {
  const folder = pathToFileURL(`${job.folder}/`), {load} = await import(new URL('textgen.js', folder));
  try {
    results.push(await write(load, folder, job));
  } catch (error) {
    results.push({error: error.message, kind: error.name});
  }
}
process.stdout.write(JSON.stringify(results));
