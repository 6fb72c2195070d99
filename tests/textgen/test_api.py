import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import textgen
from tests.conftest import ROOT
from textgen import api, hookimpl
from textgen.errors import (
    ArtifactError,
    CorpusError,
    OptionError,
    TextgenError,
    UnavailableError,
    UnknownCharacterError,
    UnknownNameError,
)
from textgen.generation.runtime import ModelRuntime
from textgen.runs.artifact import Artifact
from textgen.testing import CountingModel, registered


@pytest.fixture
def documents(work) -> textgen.TextGenerator:
    """A run of documents."""
    return api.load(work.train("documents", {"generation": {"prompt": "ab", "stop": ["dd"]}}).path)


@pytest.fixture
def stream(work) -> textgen.TextGenerator:
    """A run of a stream."""
    return api.load(work.train("stream", stream=True).path)


def test_generate_returns_a_text_for_one_prompt_and_a_list_for_several(stream):
    one = stream.generate("ab", length=5, seed=1)
    assert isinstance(one, str)
    assert one.startswith("ab")
    assert len(one) == 7
    assert stream.generate(["ab"], length=5, seed=1) == [one]
    assert stream.generate("ab", length=5, seed=1, num=3)[0] == one
    both = stream.generate(["ab", "c"], length=5, seed=1)
    assert [text[:1] for text in both] == ["a", "c"]
    assert isinstance(stream.generate(length=5), str)


def test_a_seed_decides_the_text_and_without_one_texts_differ(stream):
    assert stream.generate("ab", seed=3) == stream.generate("ab", seed=3)
    assert len({stream.generate("ab") for _ in range(5)}) == 5
    (generation,) = stream.sample(stream.request("ab"))
    assert stream.generate("ab", seed=generation.seed) == "ab" + generation.text


def test_a_generator_is_shown_with_its_run_model_and_runtime(stream):
    path = str(stream.artifact.path)
    assert repr(stream) == f"TextGenerator({path!r}, model='counting', runtime='counting')"


def test_streaming_yields_the_prompt_and_then_the_same_text_in_pieces(stream):
    pieces = list(stream.stream("ab", length=50, seed=2, chunk=4))
    assert pieces[0] == "ab"
    assert len(pieces) > 10
    assert "".join(pieces) == stream.generate("ab", length=50, seed=2)
    with pytest.raises(OptionError, match="only one text can be streamed at a time"):
        next(stream.stream("ab", num=2))
    with pytest.raises(UnknownCharacterError, match='in Python on_unknown="skip"'):
        next(stream.stream("ab%", on_unknown="error"))


def test_requests_take_defaults_from_the_run(documents, stream):
    request = documents.request()
    assert request.prompts == ("ab",)
    assert request.stop == ("dd",)
    assert str(request.chains[0]) == "temperature(0.9) | multinomial"
    assert request.length == documents.defaults.length
    assert documents.request("").prompts == ("",)
    assert documents.request(stop=[]).stop == ()
    assert documents.request(stop="x").stop == ("x",)
    assert stream.request().prompts == ("",)
    assert stream.request().length == 400


def test_a_request_has_a_row_for_each_text_of_each_prompt(stream):
    request = stream.request(["a", "b"], num=2, seed=5)
    assert request.prompts == ("a", "a", "b", "b")
    assert request.row_seeds == (0, 1, 2, 3)
    assert len(request.chains) == 4
    assert stream.request(["a", "b"], rows=[9, 9]).row_seeds == (9, 9)


def test_temperatures_are_a_grid_with_the_same_random_numbers(stream):
    request = stream.request(["a", "b"], num=2, temperature=[0.0, 1.0, 1.0], seed=5)
    assert request.prompts == ("a", "a", "b", "b") * 3
    assert request.row_seeds == (0, 1, 2, 3) * 3
    assert [str(chain) for chain in request.chains[::4]] == [
        "temperature(0) | multinomial",
        "temperature(1) | multinomial",
        "temperature(1) | multinomial",
    ]
    texts = [generation.text for generation in stream.sample(request)]
    assert texts[4:8] == texts[8:]
    assert texts[:4] != texts[4:8]
    assert texts[4] == stream.generate("a", temperature=1.0, seed=5)[1:]


def test_single_samplers_edit_the_chain_of_the_run(stream):
    request = stream.request("a", temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, repetition_penalty=1.3)
    assert str(request.chains[0]) == (
        "repetition-penalty(1.3) | temperature(0.5) | top-k(3) | top-p(0.9) | min-p(0.1) | multinomial"
    )
    assert str(stream.request("a", sampler="greedy").chains[0]) == "greedy"
    assert stream.generate("ab", sampler="greedy") == stream.generate("ab", temperature=1e-6, seed=1)
    assert stream.generate("ab", sampler="greedy") == stream.generate("ab", top_k=1, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": 0}, "num must be a whole number from 1 to 1,000,000, not 0"),
        ({"length": 0}, "length must be a whole number from 1"),
        ({"chunk": 0}, "chunk must be a whole number from 1"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*64 - 1, not -1"),
        ({"seed": 2**64}, "must be a whole number from 0 to"),
        ({"rows": [-1]}, "must be a whole number from 0 to"),
        ({"rows": [1, 2]}, "there must be as many of each"),
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"top_k": 0}, "top-k.k must be "),
        ({"top_p": 1.5}, "top-p.p must be "),
        ({"sampler": "greedy", "top_k": 3, "min_p": 0.1}, "a sampler chain and top-k, min-p exclude each other"),
        ({"sampler": "greedi"}, "unknown sampler 'greedi'; did you mean greedy?"),
        ({"on_unknown": "unk", "prompt": "aß"}, "no unknown id"),
        ({"prompt": "aß"}, "position 1 is not in the vocabulary"),
    ],
)
def test_impossible_requests_are_errors_of_one_line(stream, options, message):
    with pytest.raises(TextgenError, match=message) as raised:
        stream.generate(**{"prompt": "a", **options})
    assert "\n" not in str(raised.value)


def test_an_empty_list_of_temperatures_means_the_runs_own(stream):
    assert stream.generate("a", temperature=[], seed=1) == stream.generate("a", seed=1)


def test_texts_end_as_documents_do(documents):
    ends = documents.sample(documents.request("a", num=20, seed=1, length=500, stop=[]))
    assert {generation.finish_reason for generation in ends} == {"eos"}
    on = documents.sample(documents.request("a", num=20, seed=1, length=50, stop=[], ignore_eos=True))
    assert {generation.finish_reason for generation in on} == {"length"}
    assert {len(generation.ids) for generation in on} == {50}


def test_a_continued_text_is_the_text_generated_at_once(stream, tmp_path):
    whole = stream.generate("ab", length=40, seed=4, repetition_penalty=1.4)
    request = stream.request("ab", length=13, seed=4, repetition_penalty=1.4, keep_state=True)
    (first,) = stream.sample(request)
    stream.save_continuation(tmp_path / "state", first.continuation)
    there = stream.load_continuation(tmp_path / "state")
    rest = stream.request(continuation=there, length=27, repetition_penalty=1.4)
    assert whole == "ab" + first.text + stream.sample(rest)[0].text
    again = stream.unpack_continuation(stream.pack_continuation(first.continuation))
    assert stream.sample(replace(rest, continuation=again)) == stream.sample(rest)


def test_bytes_that_are_not_a_continuation_of_the_model_are_refused(stream, documents):
    (there,) = (each.continuation for each in stream.sample(stream.request("ab", keep_state=True)))
    content = stream.pack_continuation(there)
    with pytest.raises(ArtifactError, match="is the state of another model"):
        documents.unpack_continuation(content)
    for wrong in (b"", content[:-1], content.replace(b"textgen-state-1", b"textgen-state-0")):
        with pytest.raises(ArtifactError, match="the saved state is not a"):
            stream.unpack_continuation(wrong)


def test_auto_takes_the_models_own_runtime_if_no_other_can_run_it(work):
    path = work.train("run").path
    generator = api.load(path)
    assert type(generator.runtime) is ModelRuntime
    assert isinstance(generator.runtime.model, CountingModel)
    with pytest.raises(ArtifactError, match=r"this model is not a GRU or LSTM stack.*use --runtime counting"):
        api.load(path, runtime="numpy")
    with pytest.raises(UnknownNameError, match="unknown runtime 'count'; did you mean counting"):
        api.load(path, runtime="count")


def test_a_device_that_other_runtimes_lack_is_for_the_models_own(work):
    path = work.train("run").path
    with pytest.raises(UnavailableError, match="this runtime has no support for --device cuda; use cpu"):
        api.load(path, device="cuda")
    assert api.load(path, device="cpu").runtime.device == "cpu"


def test_the_loaded_model_has_the_saved_weights(work):
    artifact = work.train("run")
    runtime = api.load(artifact.path).runtime
    assert isinstance(runtime, ModelRuntime)
    np.testing.assert_array_equal(runtime.model.weights()["counts"], Artifact.open(artifact.path).weights()["counts"])


def test_a_run_loads_during_training_with_its_best_checkpoint(work):
    loaded = []

    class Loads:
        @hookimpl
        def textgen_checkpoint_saved(self, path):
            loaded.append(api.load(path.parents[1]).generate("a", length=4, seed=0))

    with registered(Loads()):
        work.train("run")
    assert len(loaded) == 3


def test_a_missing_plugin_is_named_with_the_command_to_install_it(work):
    class Models:
        @hookimpl
        def textgen_register_models(self, register):
            register("mamba", CountingModel)

    with registered(Models(), distribution="acme-models"):
        artifact = work.train("run", {"model": {"name": "mamba"}})
    assert artifact.manifest.providers["model"] == "acme-models"
    with pytest.raises(ArtifactError) as raised:
        api.load(artifact.path)
    assert str(raised.value) == (
        f"{artifact.path} was made with the model 'mamba' of acme-models 0, which is not loaded: "
        'pip install "acme-models==0"'
    )


def test_train_and_load_from_python(work, capsys):
    settings = {"training": {"epochs": 1, "batch_size": 8}}
    generator = textgen.train(work.stream, "counting", settings=settings, out=work.folder / "mine")
    assert generator.artifact.path == work.folder / "mine"
    assert generator.artifact.manifest.settings["corpus"]["name"] == "file"
    again = textgen.load(str(work.folder / "mine"))
    assert again.generate("ab", length=9, seed=1) == generator.generate("ab", length=9, seed=1)
    assert capsys.readouterr() == ("", "")


def test_training_is_shown_on_request(work, capsys):
    settings = {"training": {"epochs": 1, "batch_size": 8}}
    textgen.train(work.stream, "counting", settings=settings, display=textgen.LineDisplay())
    out, err = capsys.readouterr()
    assert out == ""
    assert "Write text with: textgen sample" in err


def test_train_takes_names_and_recipes(work):
    generator = textgen.train("dinos-lite", "counting", tokenizer="char-index", settings={"training": {"epochs": 1}})
    parts = generator.artifact.manifest.settings
    assert [parts[part]["name"] for part in ("corpus", "tokenizer", "model")] == [
        "dinos-lite",
        "char-index",
        "counting",
    ]
    assert textgen.load().artifact.path == generator.artifact.path

    class Recipes:
        @hookimpl
        def textgen_register_recipes(self, register):
            register("quick", {"corpus": {"name": "dinos-lite"}, "model": {"name": "counting", "smoothing": 0.5}})

    with registered(Recipes(), name="acme"):
        quick = textgen.train(recipe="quick", settings={"training": {"epochs": 1}}).artifact.manifest
        assert quick.settings["model"] == {"name": "counting", "smoothing": 0.5}
        assert "recipe quick" in quick.providers
    with pytest.raises(UnknownNameError, match="unknown recipe 'quick'"):
        textgen.train(recipe="quick")


def test_callbacks_are_an_option_that_the_model_must_have(work):
    with pytest.raises(OptionError, match="training has no option 'callbacks' for the model 'counting'"):
        textgen.train(work.stream, "counting", callbacks=[print])


def test_a_corpus_may_be_several_files_a_pattern_or_a_folder(work, tmp_path, monkeypatch):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("b.txt", "a.txt"):
        (texts / name).write_text("abcd" * 20)
    monkeypatch.chdir(texts)
    settings = {"training": {"epochs": 1, "length": 10, "batch_size": 2}}
    for corpus in (["a.txt", texts / "b.txt"], "*.txt", "[ab]*", texts):
        generator = textgen.train(corpus, "counting", settings=settings)
        paths = [str(texts / "a.txt"), str(texts / "b.txt")]
        assert generator.artifact.manifest.settings["corpus"]["path"] == paths


def test_a_text_that_does_not_exist_is_an_error(work):
    with pytest.raises(CorpusError, match=r"wrods.txt does not exist"):
        textgen.train("wrods.txt", "counting")
    (work.folder / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty has no text files"):
        textgen.train(work.folder / "empty", "counting")


def again(error):
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("copied", [again, copy.copy, copy.deepcopy])
def test_an_interruption_can_be_copied_and_sent_by_another_process(copied):
    generator = textgen.load(ROOT / "tests" / "recorded" / "gru-names")
    error = copied(textgen.Interrupted(Path("my run"), generator))
    assert str(error) == str(textgen.Interrupted(Path("my run"), generator))
    assert error.run == Path("my run")
    assert error.generator.generate("A", seed=1) == generator.generate("A", seed=1)
    assert copied(textgen.Interrupted(Path("a"), None)).generator is None
