"""Writes with an ONNX export of textgen, by onnxruntime and numpy alone; tokenizers, too, for a byte-bpe tokenizer.

``python write.py FOLDER PROMPT LENGTH SEED [LABEL]`` prints what ``textgen sample`` prints, ``python write.py FOLDER``
the largest difference from the golden vectors.
"""

import json
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(sys.argv[1])
about = json.loads((folder / "textgen.json").read_text(encoding="utf-8"))
if "host" not in about["export"]:
    raise SystemExit(f"{folder} says nothing to hosts, since an older textgen wrote it: export the run again")
host, state_spec = about["export"]["host"], about["state_spec"]
step, generate = (
    onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    for name in ("step.onnx", "generate.onnx")
)


def random_words(seed, row, first, count):
    """Words of the stream of a seed and a row."""
    words = np.random.Philox(key=np.array([seed, row], np.uint64)).advance(first // 4)
    return words.random_raw(first % 4 + count)[first % 4 :]


def make_codec():
    """The functions that turn text to ids and back, and the most ids that a character takes."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if host["texts"] is None:
        import tokenizers

        bpe = tokenizers.Tokenizer.from_str(json.dumps(vocabulary))
        return lambda text: bpe.encode(text).ids, bpe.decode, 4
    if not host["is_characters"] and host["special_ids"]["unknown"] is not None:
        raise SystemExit("this host cannot tell which words are unknown: it needs a tokenizer with rare=spell")
    special = {*host["special_ids"].values(), *dict(host["labels"]).values()}
    id_of = {text: i for i, text in enumerate(host["texts"]) if i not in special}

    def ids_of(character):
        if character in id_of or host["on_unknown"] == "error":
            return [id_of[character]]
        return [host["special_ids"]["unknown"]] if host["on_unknown"] == "unk" else []

    def encode(text):
        tokens = text if host["is_characters"] else re.findall(vocabulary["pattern"], text)
        # Words that are not in the vocabulary are spelled.
        parts = [part for token in tokens for part in ([token] if token in id_of else token)]
        return [i for part in parts for i in ids_of(part)]

    return encode, lambda ids: "".join(host["texts"][i] for i in ids), 1


def write(prompt, length, seed, label=None):
    """The prompt and the text that continues it."""
    if host["prompt"]["drops_byte_order_mark"]:
        prompt = prompt.removeprefix("\ufeff")
    if host["prompt"]["converts_line_ends"]:
        prompt = re.sub("\r\n?", "\n", prompt)
    if host["prompt"]["normalization"]:
        prompt = unicodedata.normalize(host["prompt"]["normalization"], prompt)
    encode, decode, most = make_codec()
    uniforms = ((random_words(seed, 0, 0, 1 + most * length) >> np.uint64(40)) / 2**24).astype(np.float32)
    ids = encode(prompt)
    if label is not None:
        ids = [dict(host["labels"])[label], *ids]
    elif host["labels"] or not ids:  # a label, or the first id of the text, is drawn
        starts, counts = zip(*host["starts"], strict=True)
        drawn = np.searchsorted(np.cumsum(counts), float(uniforms[0]) * sum(counts), side="right")
        ids = [starts[drawn], *ids]
        prompt = prompt if host["labels"] else decode(ids)
    ids = np.array([ids])

    # Read the prompt, except its last id.
    state = {f"past.{t['name']}": np.full((1, *t["shape"]), t["initial"], t["dtype"]) for t in state_spec}
    names = [f"present.{t['name']}" for t in state_spec]
    feeds = {"ids": ids, "lengths": np.array([ids.size - 1]), **state}
    state = dict(zip(state, step.run(names, feeds), strict=True))

    feeds = {"last_ids": ids[:, -1], "uniforms": uniforms[1:, None], **state}
    feeds |= {name: np.array([[value]], np.float32) for name, value in about["export"]["parameters"].items()}
    if "seen" in [tensor.name for tensor in generate.get_inputs()]:
        feeds["seen"] = np.isin(np.arange(about["vocab_size"]), ids)[None, :]
    written = generate.run(["ids"], feeds)[0][:, 0].tolist()
    if (end := host["special_ids"]["end"]) in written:
        written = written[: written.index(end)]
    return prompt + decode(written)[:length]


def check():
    """The largest difference from the golden vectors."""
    for test in host["random"]:
        words = random_words(*(int(test[name]) for name in ("seed", "row", "step")), len(test["words"]))
        assert [f"{word:016x}" for word in words] == test["words"]
    content = (folder / "golden.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    kinds, golden = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "BOOL": np.bool_}, {}
    for name, tensor in json.loads(content[8:start]).items():
        first, last = (start + offset for offset in tensor["data_offsets"])
        golden[name] = np.frombuffer(content[first:last], kinds[tensor["dtype"]]).reshape(tensor["shape"])
    largest = 0.0
    for name, graph in (("step", step), ("generate", generate)):
        outputs = [tensor.name for tensor in graph.get_outputs() if f"{name}.{tensor.name}" in golden]
        feeds = {tensor.name: golden[f"{name}.{tensor.name}"] for tensor in graph.get_inputs()}
        for output, found in zip(outputs, graph.run(outputs, feeds), strict=True):
            expected = golden[f"{name}.{output}"]
            is_padding = (expected == 0) if output == "logits" else False
            largest = max(largest, float(np.where(is_padding, 0, np.abs(found - expected)).max()))
    return largest


if len(sys.argv) == 2:
    print(check())
else:
    print(write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:]))
