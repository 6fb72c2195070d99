"""The evaluation of an export, compared with that of its run."""

import os
import shutil
import subprocess
import sys

import pytest

from textgen import api
from textgen.errors import CorpusError

WORDS = "\n".join(["abacus", "baobab", "cabbage", "decade", "façade", "babble", "deface", "accede"] * 5)


@pytest.mark.parametrize(
    ("options", "texts"),
    [({}, {}), ({"tokenizer": "char-eos", "text": WORDS}, {"num": 20})],
    ids=["stream", "documents"],
)
def test_an_export_is_evaluated_itself_not_its_run(exported, options, texts, tmp_path):
    run = exported("gru", units=64, precision="int8", **options).run
    expected = api.load(run.path, runtime="numpy").evaluate(**texts)
    found = api.load(run.path, runtime="onnx").evaluate(**texts)
    assert (found.runtime, expected.runtime) == ("onnx", "numpy")
    assert found.held_out.characters == expected.held_out.characters
    assert 0 < abs(found.held_out.nats / expected.held_out.nats - 1) < 0.01
    (tmp_path / "corpus").mkdir()
    shutil.copy(run.manifest.settings["corpus"]["path"], tmp_path / "corpus")
    alone = shutil.copytree(run.path / "onnx", tmp_path / "alone")
    assert api.load(alone).evaluate(**texts, data_dir=tmp_path / "corpus").held_out == found.held_out
    with pytest.raises(CorpusError, match="an export does not say where its corpus is: give --data-dir"):
        api.load(alone).evaluate(**texts)


def test_runtimes_agree(exported):
    run = exported("lstm", tokenizer="char-eos", text=WORDS).run
    by_numpy, by_onnx = (api.load(run.path, runtime=name).evaluate(num=300) for name in ("numpy", "onnx"))
    # Means of float32 logarithms of magnitude 3, each off by some units of 2**-23 of that.
    assert by_onnx.held_out.nats == pytest.approx(by_numpy.held_out.nats, rel=1e-5)
    assert by_onnx.held_out.calibration_error == pytest.approx(by_numpy.held_out.calibration_error, abs=1e-5)
    assert by_onnx.written == by_numpy.written


def test_an_evaluation_imports_no_training_library(exported):
    run = exported("gru").run
    program = (
        "import sys, textgen\n"
        f"textgen.load({str(run.path)!r}, runtime='onnx').evaluate()\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
