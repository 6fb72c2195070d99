"""The loss of a stream, read in one pass and in lanes with a warm-up.

``python -m benchmarks.warm_up RUN TEXT`` scores a run on the last tenth of a text: in one pass, and in lanes that each
begin with 200 or 1,000 characters of warm-up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import textgen
from textgen.evaluation.scoring import Reading, judge


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_up", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="the folder of a run trained on a stream")
    parser.add_argument("text", type=Path, help="the text, whose last tenth is scored")
    options = parser.parse_args()
    generator = textgen.load(options.run, runtime="numpy")
    text = options.text.read_text(encoding="utf-8")
    ids = generator.tokenizer.encode(text[-(len(text) // 10) :])
    for name, reading in {
        "one pass": Reading.carried(ids, rows=1),
        "lanes with 200 characters of warm-up": Reading.carried(ids, warm_up=200),
        "lanes with 1,000 characters of warm-up": Reading.carried(ids, warm_up=1000),
    }.items():
        score = judge(generator.runtime, reading, generator.tokenizer.characters_per_id)
        print(f"{name}: {score.nats:.9f} nats per character, {score.characters:,} characters scored")


if __name__ == "__main__":
    main()
