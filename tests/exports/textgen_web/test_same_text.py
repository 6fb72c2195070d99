"""The engine in Node writes the texts of ``textgen sample``, id by id."""

from typing import Any

import pytest

from tests.exports.textgen_web.conftest import assert_same_texts, in_javascript
from tests.exports.textgen_web.places import run_jobs
from textgen import api

#: Cell, layers, and the width of the embedding; ``None`` for one-hot input.
STACKS = [(cell, layers, width) for cell in ("gru", "lstm") for layers in (1, 2, 3) for width in (3, None)]

CHAINS = [
    "temperature(0.8) | multinomial",
    "greedy",
    "repetition-penalty(1.3) | temperature(0.9) | top-k(12) | top-p(0.9) | min-p(0.02) | multinomial",
    "top-p(0.7) | temperature(1.5) | multinomial",
    "temperature(0) | multinomial",
    "min-p(0.1) | top-k(k=5) | greedy",
]

#: An emoji, combining marks, line ends and unknown characters; nothing, so that the first character is drawn.
PROMPTS = list(enumerate(["", "🦊 jumps", "cafe\u0301 naïve", "The\r\nquick\rbrown", "Ωx€ lazy"]))

KERNELS = ["simd", "scalar"]

SEEDS = [0, 7, 2**32 + 1, 2**53 + 1, 2**64 - 1]

TEXT = "The quick brown 🦊\njumps over cafe\u0301,\nthe lazy dog.\n" * 9


#: Where texts are written, in which precision, by which stacks.
PLACES = [
    pytest.param("node", "fp32", STACKS, marks=pytest.mark.slow),
    ("node", "fp16", STACKS[1::5]),
    ("deno", "fp32", STACKS[::4]),
    pytest.param("chromium", "fp32", STACKS[::4], marks=pytest.mark.slow),
    pytest.param("firefox", "fp32", STACKS[::4], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("place", "precision", "stacks"), PLACES)
def test_every_stack_chain_prompt_and_seed(exported, place, precision, stacks, tmp_path):
    jobs, references = [], []
    for cell, layers, width in stacks:
        number = STACKS.index((cell, layers, width))
        sizes = {"cell": cell, "layers": layers, "width": width, "seed": number}
        run, folder = exported(text=TEXT, tokenizer="string-lookup", precision=precision, **sizes)
        groups = [
            [{"prompt": prompt, "seed": seed, "sampler": chain, "row": row, "length": 24} for row, prompt in PROMPTS]
            for chain, seed in zip(CHAINS, (SEEDS * 3)[number:], strict=False)
        ]
        jobs.append({"folder": str(folder), "requests": [in_javascript(wish) for group in groups for wish in group]})
        references.append((run, groups))
    for (run, groups), done in zip(references, run_jobs(place, jobs, tmp_path), strict=True):
        assert done["check"]["passed"], done["check"]
        generator = reference(run, precision)
        for position, group in enumerate(groups):
            compare(generator, done["results"][position * len(PROMPTS) :], group)


def reference(run, precision):
    """The run itself, or its ONNX export of the same precision."""
    if precision == "fp32":
        return api.load(run, runtime="numpy")
    if not (run / "onnx").exists():
        api.export(run, options={"precision": precision}, notice=pytest.fail)
    return api.load(run / "onnx", runtime="onnx", device="cpu")


def compare(generator, results: list[dict[str, Any]], wishes: list[dict[str, Any]]) -> None:
    """Compares requests that differ in prompts alone, which textgen writes side by side."""
    common = {name: value for name, value in wishes[0].items() if name not in ("prompt", "row")}
    expected = generator.sample(generator.request([wish["prompt"] for wish in wishes], **common))
    for found, text, wish in zip(results, expected, wishes, strict=False):
        assert (found.get("ids"), found.get("text")) == ([*text.ids], text.text), (wish, found)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("units", [40, 41])
def test_both_kernels(exported, node, cell, units):
    run, folder = exported(cell=cell, layers=2, units=units, text=TEXT)
    wishes = [{"prompt": "The ", "seed": seed, "length": 300} for seed in range(3)]
    requests = list(map(in_javascript, wishes))
    for done, kernel in zip(
        node([{"folder": str(folder), "kernel": k, "requests": requests} for k in KERNELS]), KERNELS, strict=True
    ):
        assert done["about"]["kernel"] == kernel
        assert_same_texts(api.load(run, runtime="numpy"), done["results"], wishes)


@pytest.mark.parametrize(("cell", "units"), [("gru", 40), ("lstm", 33)])
def test_int8(exported, node, cell, units):
    """Both kernels write the same; the first characters are those of the ONNX export, which parts once in a while."""
    run, folder = exported(cell=cell, layers=2, units=units, text=TEXT, precision="int8")
    wishes = [{"prompt": "The ", "seed": seed, "length": 100} for seed in range(5)]
    requests = list(map(in_javascript, wishes))
    simd, scalar = node([{"folder": str(folder), "kernel": kernel, "requests": requests} for kernel in KERNELS])
    assert simd["check"]["passed"], simd["check"]
    assert simd["results"] == scalar["results"]
    generator = reference(run, "int8")
    same = [
        done["text"] == generator.sample(generator.request(**wish))[0].text
        for done, wish in zip(simd["results"], wishes, strict=True)
    ]
    assert sum(same) >= 4


@pytest.mark.parametrize(
    ("tokenizer", "options"),
    [
        ("char-eos", {}),
        ("char-eos", {"order": "frequency"}),
        ("char-index", {"on_unknown": "skip"}),
        ("string-lookup", {"min_count": 3, "rare": "unk"}),
        ("words", {"size": 12}),
        ("words", {"size": 12, "rare": "unk"}),
        ("byte-bpe", {"vocab_size": 290}),
    ],
)
def test_every_tokenizer(exported, node, tokenizer, options):
    run, folder = exported(
        text=TEXT + "it's 42\u0085\u00a0 \tnaïveté…\n" * 2, tokenizer=tokenizer, tokenizer_options=options
    )
    prompts = [
        "",
        "The lazy dog, cafe\u0301's 🦊!",
        "  it's 42 \n\n naïveté… \u0085 \u2028x\ufeffy \x1c z",
        "Ω the 🦁\r\n",
    ]
    wishes = [
        {"prompt": prompt, "seed": seed, "length": length, "on_unknown": "skip", "ignore_eos": ignores}
        for prompt in prompts
        for seed, length, ignores in ((1, 1, False), (2, 40, True), (3, 40, False))
    ]
    (done,) = node([{"folder": str(folder), "requests": list(map(in_javascript, wishes))}])
    assert done["check"]["passed"], done["check"]
    assert_same_texts(api.load(run, runtime="numpy"), done["results"], wishes)
