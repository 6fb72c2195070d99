"""Batch files: answers as OpenAI's client reads them, and texts as ``sample`` writes them."""

import json
from pathlib import Path

import pytest

import textgen
from textgen.bulk import plan as planning
from textgen.bulk.batch_file import MOST_TEXTS
from textgen.errors import OptionError

GENERATOR = textgen.load(Path(__file__).parents[2] / "recorded" / "gru-names")


def line(name, **body):
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/completions", "body": body})


def answered(folder, lines, **options):
    source, out = folder / "batch.jsonl", folder / "answers.jsonl"
    source.write_text("\n".join(lines))
    report = GENERATOR.write(out, prompts_file=source, **{"seed": 7, "workers": 1, **options})
    return [json.loads(each) for each in out.read_text().splitlines()], report


def texts(answer):
    return [choice["text"] for choice in answer["response"]["body"]["choices"]]


def sampled(prompt=None, **options):
    return [each.text for each in GENERATOR.sample(GENERATOR.request(prompt, **options))]


@pytest.mark.parametrize("chunk", [1, 1000])
def test_requests_get_the_texts_of_sample(monkeypatch, tmp_path, chunk):
    monkeypatch.setattr(planning, "ROWS", chunk)
    answers, report = answered(
        tmp_path,
        [
            line("a", prompt="Ty", max_tokens=9, seed=3, n=3, temperature=0.5, model="names"),
            line("b", prompt=["A", "Bra"], n=2),
            line("c", stop="a", top_k=5, echo=True, prompt="T", seed=1),
            line("d", seed=1, top_p=1, top_k=-1, min_p=0, repetition_penalty=1),
        ],
        length=7,
        shard_rows=3,
    )
    assert [answer["custom_id"] for answer in answers] == ["a", "b", "c", "d"]
    assert texts(answers[0]) == sampled("Ty", length=9, seed=3, num=3, temperature=0.5)
    assert texts(answers[1]) == sampled(["A", "Bra"], length=7, seed=7, num=2, rows=range(MOST_TEXTS, MOST_TEXTS + 4))
    assert texts(answers[2]) == ["T" + text for text in sampled("T", length=7, seed=1, stop="a", top_k=5)]
    assert texts(answers[3]) == sampled(length=7, seed=1)
    assert (report.texts, report.skipped) == (4, 0)


def test_an_answer_is_one_that_openais_client_reads(tmp_path):
    completion = pytest.importorskip("openai.types").Completion
    (answer,), _ = answered(tmp_path, [line("a", prompt="Ty", max_tokens=3, n=2, model="m")])
    assert answer["error"] is None
    found = completion.model_validate(answer["response"]["body"])
    (drawn,) = GENERATOR.sample(GENERATOR.request("Ty", length=3, seed=7, rows=[1]))
    assert (found.model, found.choices[1].text) == ("m", drawn.text)
    assert found.usage is not None
    assert found.usage.prompt_tokens == 2
    assert found.usage.completion_tokens <= 6
    assert {choice.finish_reason for choice in found.choices} <= {"length", "stop"}


def test_what_is_wrong_with_a_request_is_its_answer(tmp_path):
    wrong = {
        "logprobs": (line("logprobs", logprobs=2), "logprobs: is not supported in a batch; leave it out"),
        "type": (line("type", max_tokens="3"), "max_tokens: Input should be a valid integer"),
        "unknown": (line("unknown", prompt="%", on_unknown="error"), "character '%' (U+0025) at position 0"),
        "many": (line("many", n=MOST_TEXTS, prompt=["A", "B"]), "131,072 texts are asked for, more than 65,536"),
        "chain": (line("chain", sampler="nonsense"), "unknown sampler 'nonsense'"),
        "chat": (line("chat").replace("completions", "chat/completions"), "only POST /v1/completions is answered"),
    }
    answers, _ = answered(tmp_path, [each for each, _ in wrong.values()] + [line("right", prompt="Ty", seed=2)])
    for answer, (name, (_, message)) in zip(answers, wrong.items(), strict=False):
        assert (answer["custom_id"], answer["response"]["status_code"]) == (name, 400)
        assert answer["response"]["body"]["error"]["message"].startswith(message)
    assert texts(answers[-1]) == sampled("Ty", seed=2)


def test_lines_that_are_no_requests_are_bad_rows(tmp_path):
    lines = [line("a", prompt="Ty"), "{", '{"custom_id": 3, "body": {}}', '{"custom_id": "x"}', line("b", prompt="A")]
    with pytest.raises(OptionError, match=r"row 1: .*line 2, is not JSON; .* --on-bad-row skip"):
        answered(tmp_path, lines)
    answers, report = answered(tmp_path, lines, on_bad_row="skip")
    assert [answer["custom_id"] for answer in answers] == ["a", "b"]
    assert (report.texts, report.drawn, report.skipped) == (2, 5, 3)


@pytest.mark.parametrize("options", [{"unique": True}, {"num": 2}, {"keep": ["id"]}, {"log_probability": True}])
def test_options_that_belong_to_other_prompts_are_refused(tmp_path, options):
    with pytest.raises(OptionError, match="is a batch file, whose answers are written as they are asked for"):
        answered(tmp_path, [line("a")], **options)


def test_answers_are_json_lines(tmp_path):
    source = tmp_path / "batch.jsonl"
    source.write_text(line("a"))
    with pytest.raises(OptionError, match=r"use --out NAME\.jsonl"):
        GENERATOR.write(tmp_path / "answers.csv", prompts_file=source)


def test_a_batch_is_continued(tmp_path):
    lines = [line(str(number), prompt="Ty") for number in range(9)]
    answers, _ = answered(tmp_path, lines, shard_rows=2)
    whole = (tmp_path / "answers.jsonl").read_bytes()
    folder = tmp_path / "again"
    GENERATOR.write(folder, prompts_file=tmp_path / "batch.jsonl", seed=7, workers=1, shard_rows=2)
    for number in (4, 3):
        (folder / f"part-0000{number}.jsonl").unlink()
    GENERATOR.write(folder, prompts_file=tmp_path / "batch.jsonl", seed=7, workers=1, shard_rows=2)
    assert b"".join(path.read_bytes() for path in sorted(folder.glob("part-*"))) == whole
    assert len(answers) == 9
