"""What POST /v1/completions answers; the numbers are those of the cases in SERVING.md."""

import json
import math
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.textgen_serve.conftest import SLOW
from textgen import score
from textgen_serve.protocol.requests import CompletionRequest
from textgen_serve.served_run import ServedRun
from textgen_serve.writing.scoring import TokenScorer

TREES = {"model": "lstm-trees"}

#: Characters that the run lstm-trees writes often.
COMMON = "aeo tr"


def test_a_text_is_that_of_the_library(server, names):
    answer = server.complete(prompt="Ram", seed=7, max_tokens=40)
    assert answer["choices"][0]["text"] == names.generate("Ram", length=40, seed=7).removeprefix("Ram")
    assert (answer["object"], answer["model"], answer["textgen"]) == ("text_completion", "gru-names", {"seed": 7})
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 27, "total_tokens": 30}


def test_every_option_means_what_it_means_to_the_library(server, trees):
    options = {"temperature": 1.2, "top_k": 9, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.1}
    (text,) = server.texts(**TREES, prompt="tr", max_tokens=50, seed=3, row=5, **options)
    assert text == trees.generate("tr", length=50, seed=3, rows=[5], **options)[2:]
    chain = "top-k(5) | temperature(2) | multinomial"
    (text,) = server.texts(**TREES, prompt="tr", max_tokens=50, seed=3, sampler=chain)
    assert text == trees.generate("tr", length=50, seed=3, sampler=chain)[2:]


def test_temperature_0_is_greedy_and_neutral_numbers_change_nothing(server, trees):
    (text,) = server.texts(**TREES, prompt="tr", max_tokens=50, temperature=0)
    assert text == trees.generate("tr", length=50, sampler="greedy")[2:]
    neutral = {"top_p": 1.0, "top_k": -1, "min_p": 0, "repetition_penalty": 1}
    assert server.texts(**TREES, prompt="tr", seed=1) == server.texts(**TREES, prompt="tr", seed=1, **neutral)


def test_top_p_0_is_greedy_too(server, trees):
    for options in ({"top_p": 0}, {"top_p": 0.0, "temperature": 1.5, "n": 2}, {"top_p": 1e-9, "top_k": 5}):
        greedy = trees.generate("tr", length=50, sampler="greedy")[2:]
        texts = server.texts(**TREES, prompt="tr", max_tokens=50, **options)
        assert set(texts) == {greedy}


def test_the_seed_of_an_answer_writes_it_again(server):
    answer = server.complete(prompt="A", n=2)
    again = server.complete(prompt="A", n=2, seed=answer["textgen"]["seed"])
    assert [each["text"] for each in again["choices"]] == [each["text"] for each in answer["choices"]]


def test_without_a_prompt_a_first_character_is_drawn(server, names):
    assert server.texts(seed=3, max_tokens=30) == [names.generate(length=30, seed=3)]
    assert server.texts(prompt="", seed=3, max_tokens=30) == [names.generate("", length=30, seed=3)]


@pytest.mark.parametrize("as_ids", [False, True])
def test_11_every_prompt_is_answered_n_times_in_order(server, trees, as_ids):
    prompts = ["tr", "a", "oak"]
    asked = [trees.tokenizer.encode(prompt).tolist() for prompt in prompts] if as_ids else prompts
    answer = server.complete(**TREES, prompt=asked, n=2, seed=4, max_tokens=20)
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert [choice["textgen"]["row"] for choice in answer["choices"]] == list(range(6))
    expected = trees.generate(prompts, num=2, length=20, seed=4)
    wholes = [prompts[index // 2] + choice["text"] for index, choice in enumerate(answer["choices"])]
    assert wholes == expected
    assert server.streamed(**TREES, prompt=asked, n=2, seed=4, max_tokens=20) == {
        index: choice["text"] for index, choice in enumerate(answer["choices"])
    }


def test_one_prompt_may_be_ids(server, trees):
    ids = trees.tokenizer.encode("oak").tolist()
    assert server.texts(**TREES, prompt=ids, seed=2) == server.texts(**TREES, prompt="oak", seed=2)


# -- stop texts


@given(st.data())
@settings(max_examples=25)
def test_5_and_7_no_character_of_a_stop_text_is_sent_and_a_stream_is_the_whole(server, trees, data):
    whole = trees.generate("tr", length=120, seed=11, temperature=1.0)[2:]
    begin = data.draw(st.integers(0, 100))
    stops = [whole[begin : begin + data.draw(st.integers(1, 20))], data.draw(st.text(COMMON, min_size=1, max_size=4))]
    asked = {**TREES, "prompt": "tr", "max_tokens": 120, "seed": 11, "temperature": 1.0, "stop": stops}
    (choice,) = server.complete(**asked)["choices"]
    ends = [(whole.index(stop) + len(stop), -len(stop), stop) for stop in stops if stop in whole]
    end, _, stop = min(ends)
    assert (choice["text"], choice["stop_reason"]) == (whole[: end - len(stop)], stop)
    assert choice["finish_reason"] == "stop"
    assert server.streamed(**asked) == {0: choice["text"]}
    with_stop = asked | {"include_stop_str_in_output": True}
    assert server.texts(**with_stop) == [whole[:end]]
    assert server.streamed(**with_stop) == {0: whole[:end]}


def test_6_what_may_have_become_a_stop_text_is_sent_at_the_end(server, trees, names):
    whole = trees.generate("tr", length=30, seed=11)[2:]
    stop = whole[-4:] + "never"
    assert server.streamed(**TREES, prompt="tr", max_tokens=30, seed=11, stop=stop) == {0: whole}
    name = names.generate("Ram", length=40, seed=7)[3:]
    assert server.streamed(prompt="Ram", max_tokens=40, seed=7, stop=[name[-3:] + "xxx"]) == {0: name}


def test_stop_may_be_null_for_the_runs_own_or_empty(server):
    asked = {**TREES, "prompt": "tr", "max_tokens": 30, "seed": 11}
    assert server.texts(**asked, stop=None) == server.texts(**asked, stop=[]) == server.texts(**asked)


# -- echo and log-probabilities


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["oak", ["oak", "tr"]])
@pytest.mark.parametrize("logprobs", [None, 2])
def test_8_echo_without_text(server, prompt, logprobs, stream):
    asked = {**TREES, "prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": logprobs}
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if stream:
        assert server.streamed(**asked) == dict(enumerate(prompts))
        return
    answer = server.complete(**asked)
    assert [choice["text"] for choice in answer["choices"]] == prompts
    assert answer["usage"]["completion_tokens"] == 0
    for choice, text in zip(answer["choices"], prompts, strict=True):
        if logprobs is not None:
            assert choice["logprobs"]["tokens"] == list(text)
            assert choice["logprobs"]["token_logprobs"][0] is None
        else:
            assert choice["logprobs"] is None


def expected_scores(generator, ids):
    """The log-probabilities of all ids but the first."""
    (found,), _ = score(generator.runtime, [np.array(ids, np.int32)], generator.runtime.initial_state(1), 2)
    return found.log_probabilities.tolist()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
def test_9_log_probabilities_are_those_of_the_model(server, trees, echo, stream):
    asked = {**TREES, "prompt": "oak", "max_tokens": 60, "seed": 5, "echo": echo, "logprobs": 2}
    if stream:
        parts = [event["choices"][0]["logprobs"] for event in server.stream(**asked)]
        found = {key: [each for part in parts for each in part[key]] for key in parts[0]}
        (text,) = server.streamed(**asked).values()
    else:
        (choice,) = server.complete(**asked)["choices"]
        found, text = choice["logprobs"], choice["text"]
    assert {len(values) for values in found.values()} == {60 + 3 * echo}
    assert "".join(found["tokens"]) == text
    assert found["text_offset"] == list(range(len(text)))
    whole = text if echo else "oak" + text
    scores = expected_scores(trees, trees.tokenizer.encode(whole).tolist())
    assert found["token_logprobs"][echo:] == pytest.approx(scores if echo else scores[2:], abs=1e-5)
    for token, own, top in list(zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True))[
        echo:
    ]:
        assert top[token] == own
        assert 2 <= len(top) <= 3
        assert max(top.values()) == next(iter(top.values()))


def test_9_logprobs_0_is_a_request_and_null_is_not(server):
    (choice,) = server.complete(**TREES, prompt="oak", max_tokens=5, logprobs=0)["choices"]
    tops = choice["logprobs"]["top_logprobs"]
    assert [list(top) for top in tops] == [[token] for token in choice["logprobs"]["tokens"]]
    (choice,) = server.complete(**TREES, prompt="oak", max_tokens=5, logprobs=None)["choices"]
    assert choice["logprobs"] is None


def test_9_the_end_of_a_document_is_a_token_without_text(server, names):
    (choice,) = server.complete(prompt="Ram", seed=7, max_tokens=40, logprobs=1)["choices"]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    assert found["tokens"][-1] == ""
    (generation,) = names.sample(names.request("Ram", length=40, seed=7, score=True))
    assert sum(found["token_logprobs"]) == pytest.approx(generation.log_probability, abs=1e-5)


def test_9_a_drawn_first_character_has_no_log_probability(server):
    (choice,) = server.complete(**TREES, prompt="", seed=7, max_tokens=10, logprobs=1)["choices"]
    assert len(choice["text"]) == 11
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert all(value < 0 for value in choice["logprobs"]["token_logprobs"][1:])


def test_requests_of_lm_eval_get_what_it_reads(server, trees):
    """Of LocalCompletionsAPI: ``token_logprobs[ctxlen:-1]``, and whether the continuation is greedy."""
    context, continuation = trees.tokenizer.encode("the "), trees.tokenizer.encode("oak")
    ids = [*context.tolist(), *continuation.tolist()]
    asked = {
        **TREES,
        "prompt": [ids, ids[1:]],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    choices = server.complete(**asked)["choices"]
    for choice, prompt, length in zip(choices, (ids, ids[1:]), (4, 3), strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][length:-1]
        assert logprobs == pytest.approx(expected_scores(trees, prompt)[length - 1 :], abs=1e-5)
        tops = choice["logprobs"]["top_logprobs"][length:-1]
        greedy = all(own == max(top.values()) for own, top in zip(logprobs, tops, strict=True))
        logits, _ = trees.runtime.forward(np.array([prompt], np.int32), trees.runtime.initial_state(1))
        is_likeliest = logits[0, length - 1 : -1].argmax(axis=-1) == np.array(prompt[length:])
        assert greedy == bool(is_likeliest.all())
    generation = {"max_tokens": 32, "temperature": 0, "stop": ["\n"], "seed": 1234}
    assert server.complete(**TREES, prompt=["oak"], **generation)["choices"][0]["text"]


def test_best_of_returns_the_likeliest_per_token(server):
    asked = {**TREES, "prompt": "tr", "max_tokens": 20, "seed": 9, "temperature": 2.0}
    choices = server.complete(**asked, n=6, logprobs=0)["choices"]
    means = {choice["text"]: sum(choice["logprobs"]["token_logprobs"]) / 20 for choice in choices}
    best = sorted(means, key=lambda text: -means[text])
    answer = server.complete(**asked, n=2, best_of=6)
    assert [choice["text"] for choice in answer["choices"]] == best[:2]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 120


# -- streams


def test_10_usage_comes_before_the_end_of_a_stream_if_it_is_asked_for(server):
    asked = {**TREES, "prompt": "tr", "max_tokens": 9, "seed": 1}
    *events, last = server.stream(**asked, stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 9)
    assert all("usage" in event and event["usage"] is None for event in events)
    for options in (None, {}, {"include_usage": False}):
        assert all("usage" not in event for event in server.stream(**asked, stream_options=options))
    refused = server.post(**asked, stream_options={"include_usage": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream_options")


def test_a_stream_has_the_headers_and_the_end_that_clients_know(server):
    connection = server.send(prompt="Ram", seed=7, stream=True, echo=True)
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: text/event-stream; charset=utf-8" in head.lower()
    assert b"cache-control: no-cache" in head.lower()
    assert body.count(b"data: [DONE]\n\n") == 1
    assert b'"text": "Ram' in body


def test_stream_interval_is_the_fewest_characters_of_an_event(server):
    asked = {**TREES, "prompt": "tr", "max_tokens": 200, "seed": 1, "sampler": SLOW.replace("20", "5")}
    pieces = [event["choices"][0]["text"] for event in server.stream(**asked, stream_interval=40)]
    assert len(pieces) > 2
    assert all(len(piece) >= 40 for piece in pieces[:-1])
    assert "".join(pieces) == server.texts(**asked)[0]


# -- values


BAD = [
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "0.7"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": 1.5}, "n"),
    ({"seed": 2**64}, "seed"),
    ({"seed": -1}, "seed"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 100_001}, "max_tokens"),
    ({"logprobs": 6}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"stop": "x" * 257}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"prompt": {}}, "prompt"),
    ({"prompt": [["a"]]}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [99]}, "prompt"),
    ({"prompt": "a" * 65_537}, "prompt"),
    ({"prompt": ["a"] * 1025}, "prompt"),
    ({"prompt": "\u263a", "model": "lstm-trees"}, "prompt"),
    ({"sampler": "what(ever"}, "sampler"),
    ({"sampler": "unheard-of | multinomial"}, "sampler"),
    ({"label": "Sports"}, "label"),
    ({"best_of": 1, "n": 2}, "best_of"),
    ({"best_of": 2, "stream": True}, "best_of"),
    ({"suffix": "x"}, "suffix"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"stream": "yes"}, "stream"),
    ({"continuation": "AAAA"}, "continuation"),
    ({"continuation": "\u00e4"}, "continuation"),
]


@pytest.mark.parametrize(("wrong", "param"), BAD, ids=lambda value: json.dumps(value)[:40])
def test_13_bad_values_are_refused_by_name(server, wrong, param):
    answer = server.post(**{"prompt": "Ram", **wrong})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert len(error["message"]) <= 500
    assert "--" not in error["message"], "advice for a command line"


PROMPT = "must be a text of at most 65,536 characters"

#: What is sent where, and what it should have been.
EXPECTED = [
    ("/v1/completions", {"stop": ["a"] * 17}, "stop must be a text of at most 256 characters, or a list of at most 16, "
     "each a text of at most 256 characters"),
    ("/v1/completions", {"prompt": 5},
     f"prompt {PROMPT}, a list of 1 to 65,536 ids, or a list of 1 to 1,024 of either"),
    ("/v1/completions", {"seed": 2**64 + 383}, "seed must be a whole number from 0 to 18,446,744,073,709,551,615"),
    ("/v1/completions", {"row": 2**63}, "row must be a whole number from 0 to 9,223,372,036,854,775,807"),
    ("/v1/completions", {"sampler": "a" * 4_001}, "sampler must be a text of at most 4,000 characters"),
    ("/v1/completions", {"min_p": "a"}, "min_p must be a number from 0 to 1"),
    ("/v1/completions", {"repetition_penalty": 0}, "repetition_penalty must be a number from 0.001 to 1,000"),
    ("/v1/completions", {"echo": 1}, "echo must be true or false"),
    ("/v1/completions", {"on_unknown": "x"}, 'on_unknown must be "error", "skip" or "unk"'),
    ("/v1/completions", {"model": 1}, "model must be a text"),
    ("/v1/completions", {"stream": True, "stream_options": 1}, "stream_options must be an object"),
    ("/v1/completions", {"stream": True, "stream_options": {"include_usage": 1}},
     "stream_options.include_usage must be true or false"),
    ("/next", {"prompt": ["a"]}, f"prompt {PROMPT}"),
    ("/next", {}, f"prompt is missing; it {PROMPT}"),
    ("/tokenize", {"prompt": [1]}, f"prompt {PROMPT}"),
    ("/detokenize", {}, "tokens is missing; it must be a list of at most 65,536, each a whole number from 0 to "
     "2,147,483,647"),
    ("/detokenize", {"tokens": [-1]}, "tokens must be a list of at most 65,536, each a whole number from 0 to "
     "2,147,483,647"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent", "message"), EXPECTED, ids=lambda value: str(value)[:40])
def test_13_a_refusal_says_what_is_expected(server, path, sent, message):
    answer = server.post(path, **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["param"]) == (400, message, message.split()[0])


@pytest.mark.parametrize(
    "content",
    [
        b'{"temperature": NaN}',
        b'{"temperature": 1e999}',
        b'{"temperature": -Infinity}',
        b'{"prompt": "\\ud800"}',
        b'{"stop": ["\\udc00"]}',
        b"[" * 100_000,
        b'{"prompt": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"[]",
        b"null",
        b"",
        b"\xff\xfe",
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b'{"prompt": "Ram"',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_13_bad_bodies_are_refused(server, content):
    answer = httpx.post(server.url + "/v1/completions", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert server.texts(prompt="Ram", max_tokens=2)


#: Every field with its absent value.
ABSENT = [
    "model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "sampler", "n",
    "best_of", "row", "stop", "include_stop_str_in_output", "ignore_eos", "echo", "logprobs", "stream",
    "stream_options", "stream_interval", "label", "on_unknown", "continuation", "return_continuation", "user",
    "suffix", "logit_bias", "presence_penalty", "frequency_penalty",
]  # fmt: skip


def test_14_null_is_absent_and_unknown_fields_pass(server):
    plain = server.texts(seed=5)
    assert server.texts(**dict.fromkeys(ABSENT), seed=5) == plain
    assert (
        server.texts(seed=5, guided_json={"a": [1]}, logit_bias={}, presence_penalty=0, frequency_penalty=0.0) == plain
    )
    assert server.complete(seed=None)["textgen"]["seed"] >= 0
    assert server.texts(seed=5, max_tokens=200.0) == plain


def test_strict_refuses_unknown_fields(start):
    server = start("--strict", "--default-length", 7)
    answer = server.post(prompt="Ram", guided_json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "guided_json")
    answer = server.post(prompt="Ram", stream=True, stream_options={"include_usage": True, "foo": 1})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream_options.foo")
    assert len(server.texts(prompt="Ram", ignore_eos=True)[0]) == 7


def test_unknown_characters_can_be_skipped(server):
    asked = {**TREES, "prompt": "oak\u263a", "seed": 1}
    answer = server.post(**asked)
    assert answer.json()["error"]["code"] == "unknown_character"
    assert '"on_unknown": "skip"' in answer.json()["error"]["message"]
    assert server.texts(**asked, on_unknown="skip") == server.texts(**asked | {"prompt": "oak"})


# -- what the documentation says of lengths and tokens


def test_a_drawn_first_character_is_not_counted_as_length_but_as_a_token(server, names):
    answer = server.complete(prompt="", seed=7, max_tokens=1)
    assert answer["choices"][0]["text"] == names.generate("", length=1, seed=7)
    assert (len(answer["choices"][0]["text"]), answer["usage"]["completion_tokens"]) == (2, 2)


def test_the_tokens_of_a_stop_text_are_counted_and_have_no_log_probabilities(server, trees):
    whole = trees.generate("tr", length=60, seed=11)[2:]
    (choice,) = (answer := server.complete(**TREES, prompt="tr", seed=11, stop=whole[20:25], logprobs=0))["choices"]
    assert (choice["text"], answer["usage"]["completion_tokens"]) == (whole[:20], 25)
    assert choice["logprobs"]["tokens"] == list(whole[:20])


# -- continuations


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_in_two_parts_is_the_text_at_once(server, stream):
    asked = {**TREES, "seed": 8, "repetition_penalty": 1.2}
    (whole,) = server.texts(**asked, prompt="oak", max_tokens=60)
    first = {**asked, "prompt": "oak", "max_tokens": 25, "return_continuation": True}
    choice = [*server.stream(**first)][-1]["choices"][0] if stream else server.complete(**first)["choices"][0]
    text = server.texts(**first)[0]
    rest = {**TREES, "repetition_penalty": 1.2, "continuation": choice["textgen"]["continuation"], "max_tokens": 35}
    assert text + server.texts(**rest)[0] == whole
    answer = server.complete(**rest)
    assert (answer["textgen"]["seed"], answer["choices"][0]["textgen"]["row"]) == (8, 0)
    assert answer["usage"]["prompt_tokens"] == 0
    # Branches: the first is the text itself, the others are its kin.
    branches = server.texts(**rest, n=3)
    assert branches[0] == whole[25:]
    assert len(set(branches)) == 3


def test_a_stop_text_or_an_end_is_in_neither_part(server, trees, names):
    whole = trees.generate("tr", length=60, seed=11)[2:]
    asked = {**TREES, "prompt": "tr", "seed": 11, "stop": whole[20:25], "return_continuation": True}
    (first,) = server.complete(**asked)["choices"]
    (rest,) = server.texts(**TREES, continuation=first["textgen"]["continuation"], max_tokens=35)
    assert first["text"] + first["stop_reason"] + rest == whole
    (first,) = server.complete(prompt="Ram", seed=7, return_continuation=True)["choices"]
    (rest,) = server.texts(continuation=first["textgen"]["continuation"])
    documents = names.generate("Ram", length=60, seed=7, ignore_eos=True)[3:].split("\n")
    assert [first["text"], rest] == documents[:2]


def test_a_prompt_is_read_after_a_continuation(server, trees):
    choice = server.complete(**TREES, prompt="oa", max_tokens=10, seed=1, return_continuation=True)["choices"][0]
    token, text = choice["textgen"]["continuation"], choice["text"]
    asked = {**TREES, "continuation": token, "prompt": "k t", "temperature": 0, "max_tokens": 20, "logprobs": 0}
    (after,) = server.complete(**asked)["choices"]
    assert after["text"] == trees.generate("oa" + text + "k t", sampler="greedy", length=20)[len("oa" + text + "k t") :]
    scores = expected_scores(trees, trees.tokenizer.encode("oa" + text + "k t" + after["text"]).tolist())
    assert after["logprobs"]["token_logprobs"] == pytest.approx(scores[-20:], abs=1e-5)


def test_a_continuation_that_was_altered_or_is_another_models_is_refused(server):
    (choice,) = server.complete(**TREES, prompt="oa", max_tokens=10, return_continuation=True)["choices"]
    token = choice["textgen"]["continuation"]
    middle = len(token) // 2
    altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for wrong in (altered, token[:-8], token + "AAAA", ""):
        answer = server.post(**TREES, continuation=wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "continuation")
    answer = server.post(model="gru-names", continuation=token)
    assert answer.status_code == 400
    assert "another model" in answer.json()["error"]["message"]


def test_instances_with_the_same_secret_accept_each_others_continuations(start, tmp_path):
    (tmp_path / "secret").write_text("of all instances\n")
    first = start("--secret-file", tmp_path / "secret")
    second = start(TEXTGEN_SERVE_SECRET="of all instances")
    third = start()
    asked = {"prompt": "Ram", "seed": 7, "max_tokens": 5, "return_continuation": True}
    token = first.complete(**asked)["choices"][0]["textgen"]["continuation"]
    rest = {"continuation": token, "max_tokens": 35}
    assert second.texts(**rest) == first.texts(**rest)
    assert third.post(**rest).status_code == 400


# -- other routes


def test_tokens_there_and_back(server, trees):
    answer = server.post("/tokenize", model="lstm-trees", prompt="oak tree").json()
    assert answer["tokens"] == trees.tokenizer.encode("oak tree").tolist()
    assert answer["count"] == 8
    assert server.post("/detokenize", model="lstm-trees", tokens=answer["tokens"]).json() == {"prompt": "oak tree"}
    assert server.post("/detokenize", model="lstm-trees", tokens=[30]).json()["error"]["param"] == "tokens"


def test_next_has_the_probabilities_of_what_may_follow(server, names, trees):
    answer = server.post("/next", model="lstm-trees", prompt="oa").json()
    ids = trees.tokenizer.encode("oa")[None]
    logits, _ = trees.runtime.forward(ids, trees.runtime.initial_state(1))
    forbidden = trees.boundaries.forbidden_ids(trees.tokenizer)
    allowed = [i for i in range(trees.runtime.vocab_size) if i not in forbidden]
    exact = logits[0, -1].astype(float)[allowed]
    exact -= math.log(np.exp(exact).sum())
    expected = dict(zip(map(trees.tokenizer.decode, ([i] for i in allowed)), exact.tolist(), strict=True))
    found = {choice["text"]: choice["logprob"] for choice in answer["choices"]}
    assert found == pytest.approx(expected, abs=1e-5)
    values = [choice["logprob"] for choice in answer["choices"]]
    assert values == sorted(values, reverse=True)
    end = [choice for choice in server.post("/next", prompt="Ram").json()["choices"] if choice["is_end"]]
    assert [(choice["text"], choice["id"]) for choice in end] == [("", names.boundaries.end_id)]


def test_next_of_nothing_is_how_texts_begin(server, names):
    answer = server.post("/next", prompt="").json()
    starts = names.boundaries.starts
    total = sum(starts.values())
    expected = {names.tokenizer.decode([token]): math.log(count / total) for token, count in starts.items()}
    assert {choice["text"]: choice["logprob"] for choice in answer["choices"]} == pytest.approx(expected)


# -- what the model does not know, pieces of words, labels


def test_what_the_model_does_not_know_is_told(server):
    asked = {"prompt": ["日aR本a日m", "Ram"], "max_tokens": 3, "echo": True, "logprobs": 0, "seed": 1}
    choices = server.complete(**asked, on_unknown="skip")["choices"]
    assert [choice["textgen"]["unknown"] for choice in choices] == [
        [
            {"character": "日", "position": 0, "count": 2, "treatment": "skip", "composed": None},
            {"character": "本", "position": 3, "count": 1, "treatment": "skip", "composed": None},
        ],
        [],
    ]
    last = list(server.stream(**asked | {"prompt": "日a"}, on_unknown="unk"))[-1]["choices"][0]
    assert [(each["character"], each["treatment"]) for each in last["textgen"]["unknown"]] == [("日", "unk")]
    text, found = choices[0]["text"], choices[0]["logprobs"]  # the tokens are where they are in the text
    assert [text[at] for at in found["text_offset"]] == found["tokens"] == ["a", "R", "a", "m", *text[-3:]]


def test_an_answer_is_not_much_larger_than_its_request(server):
    (choice,) = server.complete(prompt="a" + "".join(map(chr, range(0x4E00, 0x6E00))), on_unknown="skip")["choices"]
    assert len(choice["textgen"]["unknown"]) == 100
    long = {**TREES, "prompt": "a" * 60_000, "max_tokens": 1}
    for body in ({"echo": True, "n": 5, "logprobs": 0}, {"max_tokens": 60_000, "best_of": 5}):
        answer = server.post(**long | body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] in body
        assert "tokens; at most 262,144 are allowed" in answer.json()["error"]["message"]
    assert server.post(**long, echo=True, n=4, stream=True).status_code == 200


def test_the_field_that_is_wrong_is_named(server, pieces):
    wrong: dict[str, dict[str, Any]] = {
        "repetition_penalty": {"repetition_penalty": 1e6},
        "temperature": {"sampler": "greedy", "temperature": 1},
        "top_k": {"sampler": "greedy", "top_k": 3},
        "prompt": {"prompt": "日", "on_unknown": "skip"},
    }
    for field, body in wrong.items():
        answer = server.post(**body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    begun = pieces.complete(prompt="the", return_continuation=True)["choices"][0]["textgen"]
    answer = pieces.post(continuation=begun["continuation"], label="tree")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "label")


@pytest.mark.parametrize("path", ["/v1/completions", "/detokenize"])
def test_labels_are_no_ids_of_a_prompt(pieces, path):
    size = httpx.get(pieces.url + "/tokenizer_info").json()["vocab_size"]
    for wrong in (size - 1, size - 2):  # the two labels
        answer = pieces.post(path, prompt=[wrong], tokens=[wrong])
        assert answer.status_code == 400
        assert f"ids are from 0 to {size - 3}" in answer.json()["error"]["message"]
    assert pieces.post(path, prompt=[size - 3], tokens=[size - 3]).status_code == 200


@given(data=st.data())
@settings(max_examples=25)
def test_9_pieces_of_words_are_where_they_are_in_the_text(pieces, data):
    whole = pieces.post("/tokenize", prompt="the oak ö 😀 日本").json()["tokens"]
    prompt = data.draw(st.sampled_from(["the ", "", "ö", "😀", *(whole[:end] for end in range(1, len(whole)))]))
    asked = {
        "prompt": prompt,
        "seed": data.draw(st.integers(0, 99)),
        "max_tokens": data.draw(st.integers(1, 20)),
        "temperature": data.draw(st.sampled_from([0.8, 3.0])),
        "echo": data.draw(st.booleans()),
        "stop": data.draw(st.sampled_from([[], ["an", "日"], ["o"]])),
        "logprobs": 1,
    }
    (choice,) = pieces.complete(**asked)["choices"]
    text, found = choice["text"], choice["logprobs"]
    joined, last = "".join(found["tokens"]), (found["tokens"] or [""])[-1]
    assert joined.startswith(text)  # the last token may be cut
    assert joined == text or len(joined) - len(last) < len(text)
    assert found["text_offset"] == [len("".join(found["tokens"][:i])) for i in range(len(found["tokens"]))]
    events = [event["choices"][0] for event in pieces.stream(**asked)]
    assert "".join(event["text"] for event in events) == text
    for key in ("tokens", "text_offset"):
        assert [each for event in events for each in event["logprobs"][key]] == found[key]


def test_9_what_is_written_while_tokens_are_read_is_not_their_end(pieces_run):
    run = ServedRun.open(str(pieces_run), default_length=30, most_rows=1, device="cpu", trust_graph=False)
    halves = 0
    for seed in range(20):
        body = CompletionRequest(prompt="ö", seed=seed, max_tokens=30, temperature=3.0, ignore_eos=True)
        texts = {}
        for is_read_early in (False, True):
            job = run.prepare(body)
            scorer = TokenScorer(run, job, 0, most=0, echoes=False, writes=True)
            list(scorer.read())
            run.batching.add(job)
            reading = None
            while not job.is_done:
                run.batching.turn()
                if is_read_early and reading is None and job.rows[0].ids:
                    reading = scorer.read_written()
                    next(reading)  # then the text is written to its end
                    halves += scorer.texts[-1] == ""
            list(reading or ())
            list(scorer.read_written())
            texts[is_read_early] = scorer.texts
        assert texts[True] == texts[False]
    assert halves  # at times, half a character had been read


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_9_a_text_in_two_parts_has_the_tokens_of_the_whole(pieces, cut):
    for seed in range(5):
        asked = {"seed": seed, "temperature": 3.0, "logprobs": 1, "ignore_eos": True}
        (whole,) = pieces.complete(**asked, prompt="ö", max_tokens=25)["choices"]
        (begun,) = pieces.complete(**asked, prompt="ö", max_tokens=cut, return_continuation=True)["choices"]
        token = begun["textgen"]["continuation"]
        (rest,) = pieces.complete(**asked, continuation=token, max_tokens=25 - cut)["choices"]
        assert begun["text"] + rest["text"] == whole["text"]
        assert begun["logprobs"]["tokens"] + rest["logprobs"]["tokens"] == whole["logprobs"]["tokens"]
        both = begun["logprobs"]["token_logprobs"] + rest["logprobs"]["token_logprobs"]
        assert both == pytest.approx(whole["logprobs"]["token_logprobs"], abs=1e-5)
        for piece, at in zip(rest["logprobs"]["tokens"], rest["logprobs"]["text_offset"], strict=True):
            assert piece.startswith(rest["text"][at : at + len(piece)])
