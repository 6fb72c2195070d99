"""Jobs of many texts, in this process: the rows of ``sample``, in files."""

import csv
import errno
import json
import os
import re
import resource
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import textgen
from tests.processes import in_child
from textgen.bulk import plan as planning
from textgen.bulk import write as writing
from textgen.errors import OptionError, TextgenError, UnavailableError
from textgen.testing import registered

RECORDED = Path(__file__).parents[2] / "recorded"

GENERATOR = textgen.load(RECORDED / "gru-names")

#: A number for each job, so that Hypothesis has a new folder for each.
NUMBERS = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs")


def sampled(num, seed=7, prompt=None, **options):
    """Rows that ``sample`` writes."""
    return GENERATOR.sample(GENERATOR.request(prompt, num=num, seed=seed, **options))


def write(out, *arguments, **options):
    return GENERATOR.write(out, *arguments, **{"seed": 7, "workers": 1, **options})


def read(path):
    """The records of a file or a folder, as text in each field."""
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    records = []
    for file in files:
        if file.suffix == ".jsonl":
            records += [json.loads(line) for line in file.read_text().splitlines()]
        elif file.suffix == ".csv":
            with file.open(newline="") as lines:
                records += list(csv.DictReader(lines))
        else:
            parquet = pytest.importorskip("pyarrow.parquet")
            records += parquet.read_table(file).to_pylist()
    return [{name: "" if value is None else str(value) for name, value in record.items()} for record in records]


def texts(path):
    return [(int(record["row"]), record["text"]) for record in read(path)]


def rows(generations):
    return [(generation.row, generation.text) for generation in generations]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("end", ["", "/"], ids=["file", "folder"])
def test_a_record_has_the_fields_of_the_generation(folder, suffix, end):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = folder / f"fields{next(NUMBERS)}{suffix}"
    report = write(f"{out}{end}", "Ty", num=5, log_probability=True, length=6, temperature=0.5)
    expected = sampled(5, prompt="Ty", score=True, length=6, temperature=0.5)
    names = ("row", "prompt", "text", "finish_reason", "log_probability", "seed")
    assert read(out) == [{name: str(getattr(each, name)) for name in names} for each in expected]
    assert (report.path, report.texts, report.drawn, report.skipped, report.seed) == (out, 5, 5, 0, 7)
    assert list(read(out)[0]) == list(names)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9), st.sampled_from([".jsonl", ".csv"]))
def test_neither_the_size_of_parts_nor_that_of_chunks_changes_a_byte(monkeypatch, folder, num, shard, chunk, suffix):
    monkeypatch.setattr(planning, "ROWS", chunk)
    whole, some = (folder / f"bytes{next(NUMBERS)}{suffix}" for _ in range(2))
    write(whole, num=num, shard_rows=1000)
    write(some, num=num, shard_rows=shard)
    assert some.read_bytes() == whole.read_bytes()
    assert texts(some) == rows(sampled(num))
    parts = folder / f"bytes{next(NUMBERS)}{suffix}"
    write(f"{parts}/", num=num, shard_rows=shard)
    sizes = [len(read(path)) for path in sorted(parts.glob("part-*"))]
    assert sum(sizes) == num
    assert set(sizes[:-1]) <= {shard}


def test_rows_of_parquet_do_not_depend_on_parts_either(folder):
    pytest.importorskip("pyarrow")
    for shard in (1, 7, 1000):
        write(folder / f"p{shard}.parquet", num=30, shard_rows=shard)
    assert texts(folder / "p1.parquet") == texts(folder / "p7.parquet") == texts(folder / "p1000.parquet")
    assert texts(folder / "p7.parquet") == rows(sampled(30))


DRAWN = sampled(4000, length=5)


def kept(num, *, unique, known=(), match=".*", longest=10**9):
    """The first rows that stay, by going through all of them."""
    seen, found = set(known), []
    for generation in DRAWN:
        text = generation.whole
        if text in seen or len(text) > longest or not re.search(match, text):
            continue
        if unique:
            seen.add(text)
        found.append(generation)
        if len(found) == num:
            return found
    raise AssertionError("too few texts")


@pytest.mark.parametrize("chunk", [50, 1024])
def test_filters_keep_the_lowest_rows(monkeypatch, folder, chunk):
    monkeypatch.setattr(planning, "ROWS", chunk)
    documents = list(GENERATOR._training_documents(None))
    short = [document for document in documents if len(document) <= 5]
    cases: Any = [
        ({"unique": True}, kept(300, unique=True)),
        ({"novel": True}, kept(300, unique=False, known=documents)),
        ({"unique": True, "novel": True}, kept(300, unique=True, known=documents)),
        ({"match": "a$"}, kept(100, unique=False, match="a$")),
        ({"unique": True, "match": "^T", "max_length": 4}, kept(40, unique=True, match="^T", longest=4)),
    ]
    for options, expected in cases:
        out = folder / f"kept{next(NUMBERS)}.jsonl"
        report = write(out, num=len(expected), length=5, shard_rows=64, **options)
        assert texts(out) == rows(expected), options
        assert report.drawn == expected[-1].row + 1
    assert short  # else the cases of novel show little


def test_a_filter_looks_at_the_prompt_too_and_drops_rows_of_several_prompts(folder):
    out = folder / "prompts.jsonl"
    report = write(out, ["Ty", "Bra"], num=40, length=3, unique=True, match="^T.*a", max_length=5)
    drawn, seen = sampled(40, prompt=["Ty", "Bra"], length=3), set()
    expected = []
    for each in drawn:
        if re.search("^T.*a", each.whole) and len(each.whole) <= 5 and each.whole not in seen:
            seen.add(each.whole)
            expected.append(each)
    assert texts(out) == rows(expected)
    assert (report.texts, report.drawn) == (len(expected), 80)


def test_a_model_that_has_no_more_to_give_is_given_up(monkeypatch, folder):
    monkeypatch.setattr(writing, "PATIENCE", 50)
    out = folder / "exhausted.jsonl"
    options = {"num": 9, "length": 1, "unique": True, "match": "^Ta"}
    with pytest.raises(OptionError, match=r"of 50 texts in a row none was to stay; .* has the 1 of 9 before"):
        write(out, "T", **options, shard_rows=4)
    first = out.read_bytes()
    assert len(texts(out)) == 1
    with pytest.raises(OptionError, match="gives no more"):  # at once
        write(out, "T", **options, shard_rows=4)
    again = folder / "exhausted-again.jsonl"
    monkeypatch.setattr(planning, "ROWS", 3)
    with pytest.raises(OptionError, match="gives no more"):
        write(again, "T", **options, shard_rows=1)
    assert again.read_bytes() == first


INPUT = [("Ty", 1), ('A, "b"', 2), ("", 3), ("Bra", 4), ("Ty", 5)]


def make_input(path):
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table({"id": [each for _, each in INPUT], "name": [prompt for prompt, _ in INPUT]})
        parquet.write_table(table, path, row_group_size=2)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("id", "name"), *((each, prompt) for prompt, each in INPUT)])
    else:
        path.write_text("".join(json.dumps({"id": each, "name": prompt}) + "\n" for prompt, each in INPUT))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("to", [".jsonl", ".csv", ".parquet"])
def test_prompts_of_a_table_are_continued_in_order(folder, suffix, to):
    if ".parquet" in (suffix, to):
        pytest.importorskip("pyarrow")
    source, out = make_input(folder / f"input{suffix}"), folder / f"from{suffix[1:]}{to}"
    write(out, prompts_file=source, column="name", keep=["id"], num=2, shard_rows=3, on_unknown="skip")
    prompts = [prompt for prompt, _ in INPUT]
    assert texts(out) == rows(sampled(2, prompt=prompts, on_unknown="skip"))
    assert [record["id"] for record in read(out)] == [str(each) for _, each in INPUT for _ in range(2)]
    assert list(read(out)[0]) == ["row", "id", "prompt", "text", "finish_reason", "seed"]
    if suffix == to == ".parquet":
        from pyarrow import int64, parquet

        assert parquet.read_schema(out).field("id").type == int64()


def test_files_of_a_folder_are_read_by_name(folder):
    inputs = folder / "inputs"
    inputs.mkdir()
    (inputs / "b.txt").write_text("Bra\n\nCa")
    (inputs / "a.txt").write_text("\ufeffTy\r\nA\n", encoding="utf-8")
    write(folder / "inputs.jsonl", prompts_file=inputs)
    assert texts(folder / "inputs.jsonl") == rows(sampled(1, prompt=["Ty", "A", "Bra", "Ca"]))


class Stops(textgen.Engine):
    """Ends with an error before a chunk."""

    before = 0

    def map(self, work, chunks):
        for number, chunk in enumerate(chunks):
            if number == self.before:
                raise RuntimeError("stopped")
            yield work(chunk)


FILTERED = {"num": 60, "unique": True, "max_length": 7}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("options", [{"num": 60}, FILTERED, {"num": 12, "prompt": ["Ty", "A", "", "Bra", "Ty"]}])
def test_a_job_that_was_stopped_anywhere_continues_to_the_same_bytes(monkeypatch, folder, suffix, options):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(planning, "ROWS", 5)
    whole = folder / f"whole{next(NUMBERS)}{suffix}"
    write(whole, shard_rows=8, **options)
    plugin = type("Plugin", (), {})()
    plugin.textgen_register_engines = textgen.hookimpl(lambda register: register("stops", Stops))
    with registered(plugin):
        for before in (1, 4, 9):
            out = folder / f"resumed{next(NUMBERS)}{suffix}"
            Stops.before = before
            with pytest.raises(RuntimeError, match="stopped"):
                write(out, shard_rows=8, engine="stops", **options)
            assert not out.exists()
            with suppress(RuntimeError):  # there may be less left than that
                write(out, shard_rows=8, engine="stops", **options)
            report = write(out, shard_rows=8, **options)
            assert out.read_bytes() == whole.read_bytes()
            assert report == type(report)(**{**vars(write(whole, shard_rows=8, **options)), "path": out})
    assert not list(folder.rglob(".textgen-*"))


def test_a_finished_job_writes_nothing_again_and_keeps_its_seed(folder):
    out = folder / "finished.jsonl"
    first = write(out, num=3, seed=None)
    content, changed = out.read_bytes(), out.stat().st_mtime_ns
    assert write(out, num=3, seed=None) == first == write(out, num=3, seed=first.seed)
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (content, changed)
    out.unlink()
    write(out, num=3, seed=None)
    assert out.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "seed is 7 there, and 8 here"),
        ({"num": 4}, "num is 3 there, and 4 here"),
        ({"temperature": 0.5}, r"sampler is 'temperature\(0.8\) \| multinomial' there"),
        ({"length": 3}, "length"),
        ({"stop": "a"}, "stop"),
        ({"unique": True}, "unique"),
        ({"log_probability": True}, "columns"),
        ({"shard_rows": 9}, "shard_rows"),
        ({"prompt": "T"}, "prompt"),
    ],
)
def test_another_job_in_the_folder_is_refused(folder, change, named):
    out = folder / "same"
    write(out, num=3)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(OptionError, match=rf"job\.json is of another job: {named}.*; choose another --out, or delete"):
        write(out, **{"num": 3, **change})
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_other_weights_and_another_input_are_another_job(folder):
    source, out = folder / "changing.txt", folder / "changing.jsonl"
    source.write_text("Ty\nA\n")
    write(out, prompts_file=source)
    with pytest.raises(OptionError, match="of another job: weights"):
        textgen.load(RECORDED / "lstm-trees").write(out, prompts_file=source, seed=7)
    source.write_text("Ty\nB\n")
    with pytest.raises(OptionError, match="of another job: input"):
        write(out, prompts_file=source)


def test_a_job_that_is_written_is_refused_to_others(folder):
    out = folder / "claimed"
    plugin = type("Plugin", (), {})()

    class Second(textgen.Engine):
        def map(self, work, chunks):
            with pytest.raises(UnavailableError, match="another process writes"):
                write(out, num=3)
            yield from map(work, chunks)

    plugin.textgen_register_engines = textgen.hookimpl(lambda register: register("second", Second))
    with registered(plugin):
        write(out, num=3, engine="second")


def test_what_is_in_the_place_already_stays(folder):
    file, mine = folder / "mine.jsonl", folder / "mine"
    file.write_text("mine")
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"mine\.jsonl exists; delete it, or choose another --out"):
        write(file, num=1)
    with pytest.raises(OptionError, match=r"mine exists and has no job\.json"):
        write(mine, num=1)
    assert file.read_text() == (mine / "notes.txt").read_text() == "mine"
    assert not (folder / "mine.jsonl.job").exists()


def test_a_bad_row_is_told_with_its_number(capfd, folder):
    source = folder / "bad.jsonl"
    lines = [
        *['{"prompt": "Ty"}'] * 30,
        '{"prompt": null}',
        '{"prompt": 5}',
        "[]",
        "{",
        '{"prompt": "\\ud800"}',
        "",
        "{}",
    ]
    source.write_text("\n".join([*lines, '{"prompt": "A"}']))
    out = folder / "bad-out.jsonl"
    with pytest.raises(OptionError, match=r"row 60: the prompt is null; fill it in; .* add: --on-bad-row skip"):
        write(out, prompts_file=source, num=2, shard_rows=8)
    assert not out.exists()
    report = write(out, prompts_file=source, num=2, shard_rows=8, on_bad_row="skip")
    expected = {row: text for row, text in rows(sampled(2, prompt=["Ty"] * 36 + ["A"])) if row < 60 or row >= 72}
    assert dict(texts(out)) == expected
    assert (report.texts, report.drawn, report.skipped) == (62, 74, 12)
    left_out = [json.loads(line) for line in (folder / "bad-out.jsonl.job/skipped.jsonl").read_text().splitlines()]
    assert [each["row"] for each in left_out] == [*range(60, 72)]
    reasons = [each["reason"] for each in left_out[::2]]
    assert reasons[0] == reasons[-1] == "the prompt is null; fill it in"
    assert reasons[1:4] == [
        "the prompt is not a text but of type int; make it one",
        f"{source}, line 33, is not a JSON object",
        f"{source}, line 34, is not JSON",
    ]
    shown = capfd.readouterr().err
    assert "row 60 is left out" in shown
    assert "more rows are left out; all of them are in" in shown


def test_a_prompt_with_an_unknown_character_is_told_with_its_row(folder):
    source, out = folder / "unknown.txt", folder / "unknown.jsonl"
    source.write_text("\n".join([*["Ty"] * 20, "A%", "Bra"]))
    with pytest.raises(OptionError, match=r"row 20: character '%' \(U\+0025\) at position 1 is not in the vocabulary"):
        write(out, prompts_file=source, on_unknown="error", shard_rows=4)
    report = write(out, prompts_file=source, on_unknown="error", shard_rows=4, on_bad_row="skip")
    assert [row for row, _ in texts(out)] == [*range(20), 21]
    assert report.skipped == 1


BAD_INPUT = [
    ({"prompts_file": "missing.csv"}, r"missing\.csv cannot be read: No such file"),
    ({"prompts_file": "input.csv", "column": "nam"}, r"has no column 'nam'; did you mean name\?"),
    ({"prompts_file": "input.csv", "column": "name", "keep": ["x"]}, "has no column 'x'; there are: id, name"),
    ({"prompts_file": "input.csv", "column": "name", "keep": ["id", "id"]}, "already"),
    ({"prompts_file": "plain.txt", "column": "name"}, "has no columns; --column is for"),
    ({"prompts_file": "plain.txt", "keep": ["id"]}, "has no columns to keep"),
    ({"prompts_file": "latin.csv", "column": "name"}, "not UTF-8 text; save them as UTF-8"),
    ({"prompts_file": "quote.csv", "column": "name"}, "is not a CSV file"),
    ({"prompts_file": "empty"}, "has no files"),
    ({"prompts_file": "mixed"}, r"files of several kinds: \.csv, \.txt"),
    ({"prompts_file": "plain.txt", "prompt": "A"}, "exclude each other"),
    ({"column": "name"}, "are for the columns of a --prompts-file"),
    ({"match": "("}, "is not a regular expression"),
    ({"temperature": [0.5, 0.6]}, "has one temperature and one label"),
    ({"num": 0}, "num must be a whole number from 1"),
    ({"shard_rows": 0}, "shard_rows must be"),
    ({"workers": 0}, "workers must be"),
    ({"max_length": -1}, "max_length must be"),
    ({"on_bad_row": "go"}, "on_bad_row must be 'stop' or 'skip'"),
    ({"stream": True}, "a job has no option 'stream'"),
    ({"lenth": 3}, "a request has no option 'lenth'; did you mean length"),
    ({"engine": "locl"}, r"unknown engine 'locl'; did you mean local\?"),
    ({"engine_options": {"x": 1}}, "engine.*x"),
    ({"out": "plain.txt/names.jsonl"}, "cannot be written: Not a directory; free some space or grant access"),
    ({"out": "names.txt"}, r"files can be \.jsonl, \.csv or \.parquet"),
]


@pytest.mark.parametrize(("options", "message"), BAD_INPUT, ids=[str(options) for options, _ in BAD_INPUT])
def test_bad_input_is_told_in_one_line_and_leaves_nothing(monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    make_input(Path("input.csv"))
    Path("plain.txt").write_text("A\n")
    Path("latin.csv").write_bytes("name\nG\xf6\n".encode("latin-1"))
    Path("quote.csv").write_text('name\n"A')
    Path("empty").mkdir()
    Path("mixed").mkdir()
    Path("mixed/a.txt").write_text("A")
    Path("mixed/a.csv").write_text("prompt\nA")
    before = sorted(Path().rglob("*"))
    with pytest.raises(TextgenError, match=message):
        write(options.get("out", "out.jsonl"), **{key: value for key, value in options.items() if key != "out"})
    assert sorted(Path().rglob("*")) == before


def test_a_damaged_parquet_file_is_refused(folder):
    pytest.importorskip("pyarrow")
    (folder / "damaged.parquet").write_bytes(b"PAR1 and no more PAR1")
    with pytest.raises(OptionError, match="cannot be read as Parquet"):
        write(folder / "damaged-out.jsonl", prompts_file=folder / "damaged.parquet")


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UnavailableError, match=r'Parquet needs pyarrow: pip install "textgen-rnn\[parquet\]"'):
        write(folder / "without.parquet", num=1)
    assert not (folder / "without.parquet.job").exists()


def test_a_full_disk_ends_the_job_which_continues_once_there_is_room(folder):
    out = folder / "full.csv"

    def write_little():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        with pytest.raises(
            UnavailableError, match=r"part-00000\.csv cannot be written: File too large; free some space"
        ):
            write(out, num=400, shard_rows=200)
        os._exit(7)

    assert in_child(write_little) == 7
    assert [path.name for path in (folder / "full.csv.job").iterdir()] == ["job.json"]
    write(out, num=400, shard_rows=200)
    assert texts(out) == rows(sampled(400))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(UnavailableError, match=f"cannot be written: {os.strerror(errno.EACCES)}"):
        write(closed / "names.jsonl", num=1)


def test_a_damaged_part_is_told(folder):
    out = folder / "damaged"
    plugin = type("Plugin", (), {})()
    plugin.textgen_register_engines = textgen.hookimpl(lambda register: register("stops", Stops))
    Stops.before = 2
    with registered(plugin), pytest.raises(RuntimeError):
        write(out, num=30, shard_rows=4, engine="stops")
    (out / "part-00001.jsonl").write_text("{")
    with pytest.raises(TextgenError, match=r"part-00001\.jsonl cannot be read: .*; delete it"):
        write(out, num=30, shard_rows=4)
    (out / "part-00001.jsonl").unlink()
    write(out, num=30, shard_rows=4)
    assert texts(out) == rows(sampled(30))
