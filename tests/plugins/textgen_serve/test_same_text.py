"""One seed, one text: what the server writes for many at once is what the command prints for each alone."""

import concurrent.futures
import random
from typing import Any

import pytest

import textgen
from tests.plugins.textgen_serve.conftest import RECORDED

#: A run whose texts end by themselves, and one whose texts do not, with prompts.
RUNS = {"gru-names": ["an", "a", "", "ba"], "lstm-trees": ["oak", "a", "the tree", "r"]}

#: Chains of all kinds, by options that a request and the command share.
CHAINS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.3},
    {"temperature": 0},
    {"top_k": 5},
    {"top_p": 0.8, "temperature": 1.1},
    {"min_p": 0.1},
    {"repetition_penalty": 1.3},
    {"sampler": "top-p(0.7) | temperature(1.5) | multinomial"},
    {"sampler": "greedy"},
]


def some_requests(count: int) -> list[dict[str, Any]]:
    drawn = random.Random(12)
    requests = []
    for _ in range(count):
        run = drawn.choice([*RUNS])
        asked = {
            "model": run,
            "prompt": drawn.choice(RUNS[run]) * drawn.choice([1, 1, 1, 30]),
            "max_tokens": drawn.choice([1, 7, 60, 400]),
            "seed": drawn.choice([0, 1, 2**63 + 9, drawn.getrandbits(32)]),
            **drawn.choice(CHAINS),
        }
        if drawn.random() < 0.3:
            asked["stop"] = [drawn.choice(["e", "th", "\n", "ak t"])]
        if drawn.random() < 0.2:
            asked["ignore_eos"] = True
        requests.append(asked)
    return requests


def command(path: object, asked: dict[str, Any]) -> list[object]:
    """The arguments of ``textgen sample`` that ask for the same text."""
    found: list[object] = ["sample", path, f"--prompt={asked['prompt']}", f"--length={asked['max_tokens']}"]
    for name in ("seed", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "sampler"):
        if name in asked:
            found.append(f"--{name.replace('_', '-')}={asked[name]}")
    found += [f"--stop={stop}" for stop in asked.get("stop", ())]
    return [*found, *(["--ignore-eos"] if "ignore_eos" in asked else [])]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_12_one_seed_one_text_among_200_at_once_and_after_a_restart_with_workers(
    start, tmp_path, command_line, precision
):
    for run in RUNS:
        textgen.export(RECORDED / run, out=tmp_path / run, options={"precision": precision})
    requests, expected = some_requests(200), []
    for asked in requests:
        code, printed, errors = command_line(*command(tmp_path / asked["model"], asked))
        assert code == 0, errors
        expected.append(printed.removesuffix("\n"))
    for turn in range(2):
        first, second = (tmp_path / run for run in RUNS)
        server = start(second, "--rows", 64, "--workers", 1 + turn, run=first)
        order = list(range(200))
        drawn = random.Random(turn)
        drawn.shuffle(order)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            write = [
                pool.submit(server.streamed if drawn.random() < 0.5 else server.texts, **requests[index], echo=True)
                for index in order
            ]
            found = {index: each.result()[0] for index, each in zip(order, write, strict=True)}
        for index, text in enumerate(expected):
            assert found[index] == text, requests[index]
        server.close()
