// node node.mjs FOLDER PROMPT LENGTH SEED [LABEL]    prints what textgen sample prints
// node node.mjs FOLDER                               the largest difference from the golden vectors
import {readFile} from 'node:fs/promises';
import * as ort from 'onnxruntime-node';  // or 'onnxruntime-web': slower, and no machine code of its own
import {open} from './write.mjs';

const [folder, prompt, length, seed, label] = process.argv.slice(2);
try {
  const model = await open(ort, name => readFile(`${folder}/${name}`));
  if (prompt === undefined) {
    console.log(await model.check());
  } else {
    for await (const piece of model.write({prompt, length: Number(length), seed, label})) process.stdout.write(piece);
    process.stdout.write('\n');
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
