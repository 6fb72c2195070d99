import numpy as np
import pytest

import textgen
from textgen import api, hookimpl
from textgen.errors import ArtifactError, CorpusError, OptionError, TextgenError, UnavailableError, UnknownNameError
from textgen.generation.runtime import ModelRuntime
from textgen.runs.artifact import Artifact
from textgen.testing import CountingModel, registered


@pytest.fixture
def documents(work) -> api.TextGenerator:
    """Words that end."""
    return api.load(work.train("documents", {"generation": {"prompt": "ab", "stop": ["dd"]}}).path)


@pytest.fixture
def stream(work) -> api.TextGenerator:
    """A text without an end."""
    return api.load(work.train("stream", stream=True).path)


def test_generate_gives_a_text_or_a_list_as_it_was_asked(stream):
    one = stream.generate("ab", length=5, seed=1)
    assert isinstance(one, str)
    assert one.startswith("ab")
    assert len(one) == 7
    assert stream.generate(["ab"], length=5, seed=1) == [one]
    assert stream.generate("ab", length=5, seed=1, num=3)[0] == one
    both = stream.generate(["ab", "c"], length=5, seed=1)
    assert [text[:1] for text in both] == ["a", "c"]
    assert isinstance(stream.generate(length=5), str)


def test_the_same_seed_gives_the_same_text_and_no_seed_another(stream):
    assert stream.generate("ab", seed=3) == stream.generate("ab", seed=3)
    assert len({stream.generate("ab") for _ in range(5)}) == 5
    (generation,) = stream.sample(stream.request("ab"))
    assert stream.generate("ab", seed=generation.seed) == "ab" + generation.text


def test_streaming_gives_the_prompt_and_then_the_same_text_in_pieces(stream):
    pieces = list(stream.stream("ab", length=50, seed=2, chunk=4))
    assert pieces[0] == "ab"
    assert len(pieces) > 10
    assert "".join(pieces) == stream.generate("ab", length=50, seed=2)
    with pytest.raises(OptionError, match="only one text can be streamed at a time"):
        next(stream.stream("ab", num=2))


def test_a_run_has_its_own_way_where_nothing_else_is_asked_for(documents, stream):
    request = documents.request()
    assert request.prompts == ("ab",)
    assert request.stop == ("dd",)
    assert str(request.chains[0]) == "temperature(0.8) | multinomial"
    assert request.length == documents.defaults.length
    assert documents.request("").prompts == ("",)
    assert documents.request(stop=[]).stop == ()
    assert documents.request(stop="x").stop == ("x",)
    assert stream.request().prompts == ("",)
    assert stream.request().length == 400


def test_prompts_and_texts_a_prompt_are_rows_of_a_request(stream):
    request = stream.request(["a", "b"], num=2, seed=5)
    assert request.prompts == ("a", "a", "b", "b")
    assert request.row_seeds == (0, 1, 2, 3)
    assert len(request.chains) == 4
    assert stream.request(["a", "b"], rows=[9, 9]).row_seeds == (9, 9)


def test_temperatures_are_a_grid_under_the_same_randomness(stream):
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


def test_single_samplers_change_the_runs_chain(stream):
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
        ({"num": 0}, "num, length and chunk must be at least 1"),
        ({"length": 0}, "must be at least 1"),
        ({"chunk": 0}, "must be at least 1"),
        ({"seed": -1}, r"a seed must be from 0 to 2\*\*64 - 1, not -1"),
        ({"seed": 2**64}, "a seed must be from 0 to"),
        ({"rows": [-1]}, "a seed must be from 0 to"),
        ({"rows": [1, 2]}, "do not go together"),
        ({"temperature": -0.1}, "temperature.temperature: input should be greater than or equal to 0"),
        ({"top_k": 0}, "top-k.k: "),
        ({"top_p": 1.5}, "top-p.p: "),
        ({"sampler": "greedy", "top_k": 3, "min_p": 0.1}, "a sampler chain and top-k, min-p exclude each other"),
        ({"sampler": "greedi"}, "unknown sampler 'greedi'; did you mean greedy?"),
        ({"on_unknown": "unk", "prompt": "aß"}, "no unknown id"),
        ({"prompt": "aß"}, "position 1 is not in the vocabulary"),
    ],
)
def test_what_cannot_be_asked_for_says_why(stream, options, message):
    with pytest.raises(TextgenError, match=message) as raised:
        stream.generate(**{"prompt": "a", **options})
    assert "\n" not in str(raised.value)


def test_no_temperatures_are_the_runs_own(stream):
    assert stream.generate("a", temperature=[], seed=1) == stream.generate("a", seed=1)


def test_texts_end_where_documents_do(documents):
    ends = documents.sample(documents.request("a", num=20, seed=1, length=500, stop=[]))
    assert {generation.finish_reason for generation in ends} == {"eos"}
    on = documents.sample(documents.request("a", num=20, seed=1, length=50, stop=[], ignore_eos=True))
    assert {generation.finish_reason for generation in on} == {"length"}
    assert {len(generation.ids) for generation in on} == {50}


def test_a_text_that_is_gone_on_from_is_the_text_written_at_once(stream, tmp_path):
    whole = stream.generate("ab", length=40, seed=4, repetition_penalty=1.4)
    request = stream.request("ab", length=13, seed=4, repetition_penalty=1.4, keep_state=True)
    (first,) = stream.sample(request)
    stream.save_continuation(tmp_path / "state", first.continuation)
    there = stream.load_continuation(tmp_path / "state")
    rest = stream.request(continuation=there, length=27, repetition_penalty=1.4)
    assert whole == "ab" + first.text + stream.sample(rest)[0].text


def test_auto_takes_the_models_own_runtime_where_no_other_can(work):
    path = work.train("run").path
    generator = api.load(path)
    assert type(generator.runtime) is ModelRuntime
    assert isinstance(generator.runtime.model, CountingModel)
    with pytest.raises(ArtifactError, match=r"this model is not a GRU or LSTM stack.*use --runtime counting"):
        api.load(path, runtime="numpy")
    with pytest.raises(UnknownNameError, match="unknown runtime 'count'; did you mean counting"):
        api.load(path, runtime="count")


def test_a_device_that_no_other_runtime_has_goes_to_the_models_own(work):
    path = work.train("run").path
    with pytest.raises(UnavailableError, match="this runtime has no support for --device cuda; use cpu"):
        api.load(path, device="cuda")
    assert api.load(path, device="cpu").runtime.device == "cpu"


def test_the_loaded_model_has_the_weights_that_were_saved(work):
    artifact = work.train("run")
    np.testing.assert_array_equal(
        api.load(artifact.path).runtime.model.weights()["counts"], Artifact.open(artifact.path).weights()["counts"]
    )


def test_a_run_under_way_loads_with_its_best_checkpoint(work):
    loaded = []

    class Loads:
        @hookimpl
        def textgen_checkpoint_saved(self, path):
            loaded.append(api.load(path.parents[1]).generate("a", length=4, seed=0))

    with registered(Loads()):
        work.train("run")
    assert len(loaded) == 3


def test_a_run_whose_plugin_is_gone_says_what_to_install(work):
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


def test_train_and_load_from_python(work, monkeypatch, capsys):
    settings = {"training": {"epochs": 1, "batch_size": 8}}
    generator = textgen.train(work.stream, "counting", settings=settings, out=work.folder / "mine")
    assert generator.artifact.path == work.folder / "mine"
    assert generator.artifact.manifest.settings["corpus"]["name"] == "file"
    again = textgen.load(str(work.folder / "mine"))
    assert again.generate("ab", length=9, seed=1) == generator.generate("ab", length=9, seed=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Write text with: textgen sample" in captured.err


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

    with registered(Recipes()) as found:
        chosen = api.choose(found, recipe="quick", settings={"model": {"smoothing": 2}})
        assert chosen["model"] == {"name": "counting", "smoothing": 2}
        assert api.choose(found, recipe="quick", model="gru")["model"] == {"name": "gru"}
        assert api.choose(found, recipe="quick", corpus="dinos")["corpus"] == {"name": "dinos"}
    with pytest.raises(UnknownNameError, match="unknown recipe 'quick'"):
        textgen.train(recipe="quick")


def test_a_corpus_is_a_name_or_a_file(work, monkeypatch):
    monkeypatch.chdir(work.folder)
    assert api.choose(work.found, corpus="words.txt")["corpus"] == {"name": "file", "path": "words.txt"}
    assert api.choose(work.found, corpus=work.lines)["corpus"] == {"name": "file", "path": str(work.lines)}
    assert api.choose(work.found, corpus="shakespear")["corpus"] == {"name": "shakespear"}
    (work.folder / "dinos").write_text("a name comes before a file")
    assert api.choose(work.found, corpus="dinos")["corpus"] == {"name": "dinos"}
    with pytest.raises(UnknownNameError, match=r"unknown corpus 'wrods.txt'"):
        textgen.train("wrods.txt", "counting")
    with pytest.raises(CorpusError, match="is a folder"):
        textgen.train(work.folder, "counting")
