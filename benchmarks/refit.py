"""What the held-out text is worth: a run that holds a tenth out, and its refit on all of the same text.

``python -m benchmarks.refit CORPUS [--model gru] [--seeds 3]`` keeps a tenth of the documents of a corpus from both,
without duplicates, and judges both by it, for each seed. The texts are in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

import textgen
from textgen.base.environment import data_folder
from textgen.evaluation.scoring import Reading, judge
from textgen.plugins.registry import plugins
from textgen.text.encoding import encode


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refit", description=__doc__.partition("\n")[0])
    parser.add_argument("corpus", help="a corpus of documents, by name")
    parser.add_argument("--model", default="gru", help="by default gru")
    parser.add_argument("--seeds", type=int, default=3, help="of the documents that are kept, and of training; from 2")
    options = parser.parse_args()
    documents = list(dict.fromkeys(plugins().make("corpus", {"name": options.corpus}, data_folder(None)).documents()))
    gains = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run, refit, epochs = compare(documents, options.model, seed, Path(folder))
        gains.append(run - refit)
        print(f"seed {seed}: {run:.4f} nats per character, {refit:.4f} after a refit of {epochs}", flush=True)
    print(f"gain {fmean(gains):.4f}, standard error {stdev(gains) / len(gains) ** 0.5:.4f}")


def compare(documents: list[str], model: str, seed: int, folder: Path) -> tuple[float, float, str]:
    """Trains a run and its refit; returns the losses of both in nats per character, and the epochs of the refit."""
    order = np.random.default_rng(seed).permutation(len(documents))
    kept, rest = ([documents[i] for i in part] for part in np.split(order, [len(documents) // 10]))
    text = folder / "rest.jsonl"
    text.write_text("".join(json.dumps({"text": each}) + "\n" for each in rest), encoding="utf-8")
    training = {"seed": seed, "sample_every": 0}
    textgen.train(text, model, settings={"training": training}, out=folder / "run")
    textgen.train(refit=folder / "run", out=folder / "refit")
    known = [each for each in kept if set(each) <= set("".join(rest))]
    losses = []
    for name in ("run", "refit"):
        generator = textgen.load(folder / name, runtime="numpy")
        reading = Reading.documents(encode("documents", known, generator.tokenizer))
        losses.append(judge(generator.runtime, reading, generator.tokenizer.characters_per_id).nats)
    trained = generator.artifact.manifest.settings["training"]
    return losses[0], losses[1], f"{trained['stop_after']} of {trained['epochs']} epochs"


if __name__ == "__main__":
    main()
