"""Records three small runs, their exports, and the ids that they write.

Run it from this folder, ``python record.py``, and only to record a deliberate change of behaviour: the tests in this
folder compare the present code with the version that last ran it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import textgen

HERE = Path(__file__).parent

SMALL = {"batch_size": 8, "length": 20, "epochs": 2, "learning_rate": 1e-2, "sample_every": 0}
TREES = {**SMALL, "epochs": 20, "batch_size": 4, "learning_rate": 5e-2, "checkpoint_every": 20}

#: By folder: corpus, model, tokenizer, and other settings.
RUNS: dict[str, tuple[str | Path, str, str, dict[str, dict[str, Any]]]] = {
    "gru-names": ("dinos-lite", "gru", "char-eos", {"model": {"units": 4, "input": "one-hot"}, "training": SMALL}),
    "lstm-trees": (
        Path("trees.txt"),
        "lstm",
        "char-index",
        {"model": {"units": 6, "layers": 2, "embedding_dim": 4}, "training": TREES},
    ),
    "gru-trees": (
        Path("trees.txt"),
        "gru",
        "string-lookup",
        {"model": {"units": 8, "embedding_dim": 4}, "training": {**TREES, "layout": "windows"}},
    ),
}

CHAINS = (
    "greedy",
    "multinomial",
    "temperature(0.7) | multinomial",
    "top-k(5) | multinomial",
    "temperature(1.2) | top-p(0.9) | multinomial",
    "repetition-penalty(1.3) | min-p(0.05) | multinomial",
)
SEEDS = (0, 1, 7, 2**32 - 1)
PROMPTS = ("", "", "a", "el")
LENGTH = 16


def record() -> None:
    """Train, export, generate, and resume a copy; keep the results."""
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # plots are large, and differ between machines
    recorded: dict[str, Any] = {"chains": CHAINS, "seeds": SEEDS, "prompts": PROMPTS, "length": LENGTH, "runs": {}}
    for name, (corpus, model, tokenizer, settings) in RUNS.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        textgen.train(corpus, model, tokenizer=tokenizer, settings=settings, out=folder)
        textgen.export(folder)
        generator = textgen.load(folder, runtime="numpy")
        ids = {
            chain: {
                str(seed): [
                    [int(i) for i in generation.ids]
                    for generation in generator.sample(
                        generator.request(list(PROMPTS), sampler=chain, seed=seed, length=LENGTH)
                    )
                ]
                for seed in SEEDS
            }
            for chain in CHAINS
        }
        recorded["runs"][name] = {"ids": ids, "resumed": resume(folder)}
    (HERE / "recorded.json").write_text(json.dumps(recorded, separators=(",", ":")) + "\n")


def resume(folder: Path) -> dict[str, float]:
    """Train a copy of the run for one more epoch; returns the last line of its history."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / "run"))
        epochs = json.loads((copy / "textgen.json").read_text())["settings"]["training"]["epochs"]
        command = [sys.executable, "-m", "textgen", "train", "--resume", str(copy), "--epochs", str(epochs + 1)]
        subprocess.run([*command, "--data-dir", str(HERE)], check=True, capture_output=True)
        line = json.loads((copy / "history.jsonl").read_text().splitlines()[-1])
    return {name: line[name] for name in ("epoch", "step", "loss", "held_out_loss")}


if __name__ == "__main__":
    record()
