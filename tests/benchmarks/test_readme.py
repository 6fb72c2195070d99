"""README.md and docs/benchmarks.md match the results: `python -m benchmarks.readme` would not change them."""

import json
from dataclasses import replace

import pytest

from benchmarks import generation, readme
from benchmarks.report import Result, Row, Table
from benchmarks.subjects import GRU_1024, LSTM_128

AGAIN = "run: python -m benchmarks.readme"


@pytest.fixture
def result():
    rows = [
        Row("textgen onnx fp32", "threads: 1", [20e-6, 10e-6, 30e-6]),
        Row("the original loop", "", [100e-6, 40e-6, 180e-6]),
    ]
    table = Table(generation.title(GRU_1024), "character", "time", "textgen onnx fp32", rows)
    return Result("python -m benchmarks.generation", "2026-01-02T03:04:05", {"CPU": "Z80", "cores": 1}, {}, [table])


def test_the_readme_matches_the_results():
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.with_section(text, readme.speed_section(readme.read_results())), AGAIN


def test_the_page_matches_the_results():
    assert readme.PAGE.read_text(encoding="utf-8") == readme.page(readme.read_results()), AGAIN


def test_a_measurement_becomes_a_row_with_its_ratio(result):
    section = readme.speed_section({"generation": result})
    assert "| one text, per character | GRU 1024 |" in section
    assert "| textgen onnx fp32 | 20 µs (1) |" in section
    assert "| Keras, a loop in Python | 100 µs (5) |" in section
    assert "`python -m benchmarks.generation`, 2026-01-02, on 1 cores of Z80." in section
    assert "Nothing has been measured on a GPU yet." in section


def test_models_are_side_by_side_if_both_were_measured(result):
    other = replace(result.tables[0], title=generation.title(LSTM_128), rows=result.tables[0].rows[:1])
    section = readme.speed_section({"generation": replace(result, tables=[result.tables[0], other])})
    assert "| one text, per character | GRU 1024 | LSTM 128 |" in section
    assert "| textgen onnx fp32 | 20 µs (1) | 20 µs (1) |" in section
    assert "| Keras, a loop in Python | 100 µs (5) | |" in section


def test_figures_of_a_gpu_are_shown_once_they_exist(result):
    on_gpu = replace(result, machine={"CPU": "Z80", "cores": 1, "GPU": "Blitter"})
    section = readme.speed_section({"generation-cuda": on_gpu})
    assert "on 1 cores of Z80, Blitter." in section
    assert "Nothing has been measured on the CPU yet." in section
    assert "Nothing has been measured on a GPU yet." not in section


def test_the_page_lists_what_is_not_measured(result):
    page = readme.page({"generation": result})
    assert "Not measured yet: `python -m benchmarks.generation`." not in page
    assert "Not measured yet: `python -m benchmarks.growth`." in page


def test_results_of_quick_measurements_are_not_read(result, tmp_path):
    result.write(tmp_path / "generation.json")
    result.write(tmp_path / "generation-quick.json")
    assert readme.read_results(tmp_path) == {"generation": result}


def test_a_result_without_charts_or_figures_is_read(result, tmp_path):
    content = {"tables": [], "claims": [], "command": "c", "created": "d", "machine": {}, "versions": {}}
    path = tmp_path / "growth.json"
    path.write_text(json.dumps(content))
    assert readme.read_results(tmp_path) == {"growth": Result("c", "d", {}, {})}


def test_only_the_text_between_the_markers_changes():
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    changed = readme.with_section(text, "new")
    assert changed == f"before\n{readme.BEGIN}\n\nnew\n\n{readme.END}\nafter\n"
    assert readme.with_section(changed, "new") == changed
    with pytest.raises(ValueError, match="has no <!-- benchmarks -->"):
        readme.with_section("nothing", "new")
