/* What a person types, as the search of the theme takes it. Words that say little are left out; a whole word counts
more than one that it begins; parts of `top-p` are required together, or its "p" would find every word with p. The
signs of the query language, such as the dashes of `--resume`, which mean "without", are left out. */
"use strict";
{
  const idle = new Set("a an and are at by can do does for from how i in is it my of on or the to what when with".split(" "));
  const asked = (text) => {
    const words = text.match(/[\p{L}\p{N}_]+(?:[-.][\p{L}\p{N}_]+)*/gu) ?? [];
    const telling = words.filter((word) => !idle.has(word.toLowerCase()));
    return (telling.length ? telling : words).map((word) => {
      const parts = word.split(/-|\.(?!\d)/);
      return parts.length > 1
        ? parts.map((part) => (part.length > 1 ? `+${part}*` : `+${part}`)).join(" ")
        : `${word}^5 ${word}`;
    }).join(" ");
  };
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message, ...rest) {
    const isQuery = typeof message.data === "string";
    return post.call(this, isQuery ? { ...message, data: asked(message.data) } : message, ...rest);
  };
}
