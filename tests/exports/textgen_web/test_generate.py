"""What a text of the engine can be asked for: labels, stop texts, parts, an n-gram; and what it says of bad wishes."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import textgen_web
from tests.exports.random_runs import STREAM
from tests.exports.textgen_web.conftest import assert_same_texts, in_javascript
from textgen import api, score

SAMPLERS = ("repetition-penalty", "temperature", "top-k", "top-p", "min-p", "greedy", "multinomial")

LABELLED = "text,label\n" + "".join(
    f"{text},{label}\n"
    for text, label in [("the sun rises", "day"), ("the moon sets", "night"), ("stars", "night")] * 8
)


def test_an_ngram_in_a_network_and_alone(exported, node, tmp_path):
    for cell, contexts in (("gru", 40), ("lstm", 300)):
        run, folder = exported(cell=cell, contexts=contexts, layers=2)
        check_texts(node, run, folder)
    alone = tmp_path / "run"
    api.train(text=STREAM, model="ngram", out=alone, settings={"training": {"sample_every": 0}})
    check_texts(node, alone, api.export(alone, to="web", notice=pytest.fail).folder, prompts=("", "Th"))


def check_texts(node, run, folder, *, runtime="auto", prompts=("", "t"), **options):
    wishes = [
        {"prompt": prompt, "seed": seed, "row": seed + 1, "length": 80, **options}
        for prompt in prompts
        for seed in (3, 4)
    ]
    (done,) = node([{"folder": str(folder), "requests": list(map(in_javascript, wishes))}])
    assert done["check"]["passed"], done["check"]
    assert_same_texts(api.load(run, runtime=runtime), done["results"], wishes)
    return done


@pytest.mark.parametrize("tokenizer", ["char-eos", "byte-bpe"])
def test_labels(exported, node, tokenizer):
    corpus = {"format": "csv", "layout": "lines", "column": "text", "label": "label"}
    options = {"vocab_size": 270} if tokenizer == "byte-bpe" else {}
    run, folder = exported(text=LABELLED, tokenizer=tokenizer, corpus_options=corpus, tokenizer_options=options)
    done = check_texts(node, run, folder)
    assert sorted(done["about"]["labels"]) == ["day", "night"]
    check_texts(node, run, folder, label="night")
    (refused,) = node([{"folder": str(folder), "requests": [{"label": "noon"}]}])
    assert refused["results"][0]["error"] == 'this model has no label "noon"; there are: day, night'


def test_stop_texts(exported, node):
    run, folder = exported()
    words = api.load(run, runtime="numpy").generate("The ", length=200, seed=5)
    stops = [["\n"], [words[20:24]], [words[20:22], words[21:24]], [words[4]], [words[200:], words[100:103]], ["", "☃"]]
    wishes = [
        {"prompt": prompt, "seed": seed, "stop": stop, "length": length}
        for stop in stops
        for prompt, seed, length in (("The ", 5, 200), ("The ", 5, 17), ("", 6, 100))
    ]
    (done,) = node([{"folder": str(folder), "requests": list(map(in_javascript, wishes))}])
    assert_same_texts(api.load(run, runtime="numpy"), done["results"], wishes)
    assert {each["finishReason"] for each in done["results"]} == {"stop", "length"}


@pytest.mark.parametrize("tokenizer", ["char-index", "words", "byte-bpe"])
def test_a_text_in_parts_is_the_text_at_once(exported, node, tokenizer):
    options = {"vocab_size": 275} if tokenizer == "byte-bpe" else {}
    run, folder = exported(cell="lstm", layers=2, tokenizer=tokenizer, tokenizer_options=options)
    chain = "repetition-penalty(1.2) | temperature(0.9) | multinomial"
    whole = {"prompt": "The ", "seed": str(2**64 - 1), "sampler": chain, "length": 60}
    parts = [{**whole, "parts": lengths} for lengths in ([1, 59], [30, 30], [17, 2, 1, 40])]
    (done,) = node([{"folder": str(folder), "requests": [whole, *parts]}])
    first, *others = done["results"]
    wish = {**whole, "seed": 2**64 - 1}
    assert_same_texts(api.load(run, runtime="numpy"), [first], [wish])
    for other in others:
        assert (other["text"], other["ids"]) == (first["text"], first["ids"])


def test_single_numbers_change_the_chain(exported, node):
    run, folder = exported(sampler="top-k(5) | greedy")
    wishes = [
        {"prompt": "The ", "seed": 1, "length": 60, **numbers}
        for numbers in (
            {},
            {"temperature": 0.7},
            {"top_k": 3},
            {"top_p": 0.5, "repetition_penalty": 1.4},
            {"min_p": 0.3},
        )
    ]
    (done,) = node([{"folder": str(folder), "requests": list(map(in_javascript, wishes))}])
    assert_same_texts(api.load(run, runtime="numpy"), done["results"], wishes)


def test_what_follows_and_how_likely_a_text_is(exported, node):
    run, folder = exported(cell="lstm", layers=2, tokenizer="char-eos")
    text = "quick"
    requests = [{"call": call, "text": text} for call in ("probabilities", "score", "activations")]
    (done,) = node([{"folder": str(folder), "requests": [*requests, {"call": "probabilities", "text": ""}]}])
    following, scores, activations, beginnings = done["results"]
    generator = api.load(run, runtime="numpy")
    ids = generator.tokenizer.encode(text)[None]
    logits, state = generator.runtime.forward(ids, generator.runtime.initial_state(1))
    for layer, values in enumerate(activations[-1]["layers"]):
        np.testing.assert_allclose([*values.values()], state[f"{layer}.h"][0], rtol=1e-4)
    assert [each["text"] for each in activations] == list(text)
    assert scores[0]["logProbability"] is None
    expected = score(generator.runtime, [ids[0]], generator.runtime.initial_state(1))[0][0].log_probabilities
    np.testing.assert_allclose([each["logProbability"] for each in scores[1:]], expected, rtol=1e-4)
    logits[..., [*generator.boundaries.forbidden_ids(generator.tokenizer)]] = -np.inf
    expected = np.exp(logits[0, -1].astype(float))
    expected /= expected.sum()
    likeliest = np.argsort(-expected, kind="stable")[: np.count_nonzero(expected)]
    assert [each["id"] for each in following] == likeliest.tolist()
    np.testing.assert_allclose([each["probability"] for each in following], expected[likeliest], rtol=1e-4)
    assert sum(each["isEnd"] for each in following) == 1
    assert [each["text"] for each in scores] == list(text)
    starts = generator.boundaries.starts
    assert {e["id"]: e["probability"] for e in beginnings} == pytest.approx(
        {i: n / sum(starts.values()) for i, n in starts.items()}
    )


def test_a_text_is_stopped_in_the_middle(exported, node):
    """A timer gets its turn, and what was written until then is the beginning of the text."""
    _, folder = exported()
    wish = {"prompt": "The ", "seed": 1, "ignoreEos": True}
    long = {"prompt": "The lazy dog. " * 500_000, "stopAfter": 100}
    requests = [
        {**wish, "length": 10**8, "stopAfter": 200},
        {**wish, "length": 2000},
        long,
        {"call": "score", "text": long["prompt"], "stopAfter": 100},
    ]
    (done,) = node([{"folder": str(folder), "requests": requests}])
    stopped, whole, *reading = done["results"]
    assert stopped["finishReason"] == "cancelled"
    assert 0 < len(stopped["text"]) < 10**8
    assert stopped["text"][:2000] == whole["text"][: len(stopped["text"])]
    assert [each["kind"] for each in reading] == ["TimeoutError", "TimeoutError"]


def test_bad_wishes_get_one_line(exported, node):
    _, folder = exported()
    wishes = {
        "length is 0; it must be a whole number from 1 to 1000000000": {"length": 0},
        "seed is -1; it must be a whole number from 0 to 2^64 - 1, above 2^53 as text or BigInt": {"seed": -1},
        f"there is no sampler 'warp'; there are: {', '.join(SAMPLERS)}": {"sampler": "warp(3) | greedy"},
        "the sampler chain 'top-k(3)' must end in a selector: append '| multinomial' or '| greedy'": {
            "sampler": "top-k(3)"
        },
        "top-k(2.5): k must be a whole number from 1": {"topK": 2.5},
        "temperature(-1): temperature must be a number from 0 to 1000000": {"temperature": -1},
        "a sampler chain and temperature exclude each other; write all into the chain": {
            "sampler": "greedy",
            "temperature": 1,
        },
        "\"Ω\" (U+03A9) at position 4 is not in the vocabulary; remove it, or set onUnknown to 'skip'": {
            "prompt": "The Ω"
        },
        "nothing of the text is in the vocabulary": {"prompt": "ΩΩ", "onUnknown": "skip"},
        "\"€\" (U+20AC) at position 0 is not in the vocabulary; remove it, or set onUnknown to 'skip'": {
            "prompt": "€",
            "onUnknown": "unk",
        },
    }
    (done,) = node([{"folder": str(folder), "requests": [*wishes.values()]}])
    assert [each.get("error") for each in done["results"]] == [*wishes]


def test_the_end_of_a_document_ends_a_text_even_if_it_gives_the_last_character_that_fits():
    if not (node := shutil.which("node")):
        pytest.skip("needs Node")
    program = f"""
        import {{Row}} from {json.dumps((Path(textgen_web.__file__).parent / "js" / "row.js").as_uri())};
        const tokenizer = {{decoder: () => ({{feed: () => '', flush: () => '\\ufffd'}})}};  // a byte is held back
        const row = new Row(tokenizer, [7], {{length: 1, stop: [], endId: 0, isDrawn: false, before: null}});
        for (const id of [5, 0]) row.extend(id);
        console.log(JSON.stringify([row.text, row.ids, row.finishReason, row.unread]));
    """
    done = subprocess.run([node, "--input-type=module", "-e", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == ["\ufffd", [5, 0], "eos", 0]
