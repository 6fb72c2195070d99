// Prepares what the first line of stdin asks for, as JSON; writes a text for each line after it.

import {createInterface} from 'node:readline';
import {prepare} from './web.mjs';

let write;
for await (const line of createInterface({input: process.stdin})) {
  if (write) console.log(await write());
  else {
    write = await prepare(JSON.parse(line));
    console.log('ready');
  }
}
