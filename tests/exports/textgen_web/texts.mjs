// Writes texts with exports, as a test asks for them: what Node and browsers have in common.

/** A job: {folder, kernel, requests}; the results of its requests, each {text, ids, ...} or {error}. */
export async function write(load, source, {kernel, requests}) {
  const generator = await load(source, {kernel}), results = [];
  for (const request of requests) {
    try {
      results.push(await results_of(generator, request));
    } catch (error) {
      results.push({error: error.message, kind: error.name});
    }
  }
  return {about: generator.about, check: generator.check(), results};
}

/**
 * A request is the options of generate(), or of another method `call` with a `text`; perhaps with `parts`, the lengths of
 * a text that is written in parts, or `stopAfter`, milliseconds.
 */
async function results_of(generator, {call, text, parts, stopAfter, ...options}) {
  if (stopAfter) options.signal = AbortSignal.timeout(stopAfter);
  if (call) return generator[call](text, options);
  if (!parts) return finish(generator.generate(options));
  let whole = await finish(generator.generate({...options, length: parts[0]}));
  for (const length of parts.slice(1)) {
    const {prompt, seed, label, ...others} = options;
    const next = await finish(generator.generate({...others, length, state: structuredClone(whole.state)}));
    whole = {...next, text: whole.text + next.text, ids: [...whole.ids, ...next.ids]};
  }
  return whole;
}

async function finish(pieces) {
  let text = '';
  for (;;) {
    const {value, done} = await pieces.next();
    if (done) return {...value, pieces: text};
    text += value;
  }
}
