"""The conformance suites: good plugins pass, and each broken one fails the case for its fault."""

import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import onnx  # noqa: F401 - as the next: an inline run forgets its imports, and these abort when imported twice
import onnxruntime  # noqa: F401
import pytest
from pydantic import ConfigDict, Field, field_validator

import textgen.training.plot
from textgen import hookimpl
from textgen.errors import ArtifactError, OptionError, UnavailableError, UnknownCharacterError
from textgen.exporting.exporter import Exporter, ExportReport
from textgen.files.folders import write_folder
from textgen.generation.runtime import Block, ModelRuntime
from textgen.model.state import State
from textgen.options import Options
from textgen.sampling.sampler import RankSampler, Sampler, Selector, ThresholdSampler
from textgen.testing import CountingModel, FixedGRU, registered
from textgen.testing.suites import (
    CorpusSuite,
    ExporterSuite,
    ModelSuite,
    RuntimeSuite,
    SamplerSuite,
    SelectorSuite,
    TokenizerSuite,
)
from textgen.testing.tiny import TinyDocuments, TinyLabelled
from textgen.text.corpus import Provenance, Source
from textgen.text.decoder import PlainDecoder
from textgen.text.tokenizer import Tokenizer

pytest_plugins = ["pytester"]


class Dump(Exporter):
    """A good exporter: the weights as JSON."""

    def export(self, source, folder):
        if folder.exists() and [path.name for path in folder.iterdir()] != ["weights.json"]:
            raise ArtifactError(f"{folder} is in use")
        with write_folder(folder) as work:
            weights = {name: array.tolist() for name, array in source.artifact.weights().items()}
            (work / "weights.json").write_text(json.dumps(weights))
            figures = self.compare(source, json.loads((work / "weights.json").read_text()))
        return ExportReport(folder, ("weights.json",), figures)

    def compare(self, source, weights):
        model = source.make_model()
        model.load_weights({name: np.array(values, np.float32) for name, values in weights.items()})
        reference, own = source.open_runtime(model.native_runtime), ModelRuntime(model)
        ids = np.arange(model.vocab_size, dtype=np.int32)[None]
        expected, found = (each.forward(ids, each.initial_state(1))[0] for each in (reference, own))
        difference = float(np.abs(expected - found).max())
        if difference > 1e-4:
            raise ArtifactError(f"logits differ by {difference}")
        return {"max_logit_difference": difference}


class Letters(Tokenizer):
    """A good tokenizer: characters from 0."""

    texts: Any = ()

    def fit(self, texts):
        self.texts = sorted(set("".join(texts)))

    def encode(self, text, on_unknown=None):
        if on_unknown == "unk":
            raise OptionError("this tokenizer has no unknown id")
        for position, character in enumerate(text):
            if character not in self.texts and on_unknown != "skip":
                raise UnknownCharacterError(character, position)
        return np.array([self.texts.index(character) for character in text if character in self.texts], np.int32)

    def decode(self, ids):
        return "".join(self.texts[i] for i in ids)

    @property
    def vocab_size(self):
        return len(self.texts)

    def to_json(self):
        return {"texts": list(self.texts)}

    def load_json(self, vocabulary):
        if not vocabulary.get("texts"):
            raise ArtifactError("no vocabulary")
        self.texts = vocabulary["texts"]


class Bytes(Tokenizer):
    """A good tokenizer: the bytes of UTF-8, and the end of a document."""

    has_eos = True
    eos_id = 256
    vocab_size = 257

    def fit(self, texts):
        pass

    def encode(self, text, on_unknown=None):
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode(self, ids):
        return bytes(10 if i == self.eos_id else i for i in ids).decode("utf-8", "replace")

    @property
    def characters_per_id(self):
        return np.array([i & 0xC0 != 0x80 for i in range(256)] + [1], np.int32)

    def to_json(self):
        return {"bytes": 256}

    def load_json(self, vocabulary):
        if vocabulary != self.to_json():
            raise ArtifactError("no vocabulary")


class Words(Letters):
    """A good tokenizer: words, each with the blank before it, and white space."""

    def fit(self, texts):
        self.texts = sorted({word for text in texts for word in self.words(text)})

    def words(self, text):
        return re.findall(r" ?\S+|\s", text)

    def encode(self, text, on_unknown=None):
        if on_unknown == "unk":
            raise OptionError("this tokenizer has no unknown id")
        ids, position = [], 0
        for word in self.words(text):
            if word in self.texts:
                ids.append(self.texts.index(word))
            elif on_unknown != "skip":
                raise UnknownCharacterError(word, position)
            position += len(word)
        return np.array(ids, np.int32)


class HalvesOptions(Options):
    by: float = Field(2.0, gt=0, description="What logits are divided by.")


class Halves(Sampler):
    """A good sampler: divides logits."""

    Options = HalvesOptions
    neutral = MappingProxyType({"by": 1.0})

    def transform(self, logits, parameters, seen):
        return logits / parameters["by"]

    def emit(self, graph, logits, parameters, seen):
        return graph.add("Div", logits, parameters["by"])


class Likeliest(RankSampler):
    """A good sampler: the likeliest id."""

    def keep(self, ranked, parameters):
        return np.arange(ranked.shape[1]) == 0

    def emit_count(self, graph, parameters, left):
        return graph.constant(np.array([[1]], np.float32))

    def emit_keep(self, graph, ranked, ranks, parameters):
        return graph.add("Equal", ranks, graph.constant(np.array([[0]], np.float32)))


class Near(ThresholdSampler):
    """A good sampler: ids at most 2 below the best."""

    def threshold(self, best, parameters):
        return best - np.float32(2)

    def emit_threshold(self, graph, best, parameters):
        return graph.add("Sub", best, graph.constant(np.float32(2)))


class Last(Selector):
    """A good selector: the last id that is not excluded."""

    def select(self, logits, uniforms):
        positions = np.where(logits > -np.inf, np.arange(logits.shape[1]), -1)
        return positions.max(axis=1).astype(np.int32)


#: The good plugins, each with its suite, its hook, and the attributes of the suite.
GOOD: dict[type, tuple[type, str, dict[str, Any]]] = {
    TinyDocuments: (CorpusSuite, "corpora", {}),
    TinyLabelled: (CorpusSuite, "corpora", {}),
    Letters: (TokenizerSuite, "tokenizers", {}),
    Bytes: (TokenizerSuite, "tokenizers", {}),
    Words: (TokenizerSuite, "tokenizers", {}),
    CountingModel: (ModelSuite, "models", {"options": {"smoothing": 0.5}}),
    FixedGRU: (ModelSuite, "models", {"learns": False}),
    Halves: (SamplerSuite, "samplers", {"more_options": ({"by": 0.5},)}),
    Likeliest: (SamplerSuite, "samplers", {}),
    Near: (SamplerSuite, "samplers", {}),
    Last: (SelectorSuite, "samplers", {}),
    Dump: (ExporterSuite, "exporters", {}),
    ModelRuntime: (RuntimeSuite, "runtimes", {}),
}


def no_plots(*arguments: object) -> None:
    """Importing matplotlib takes a second."""
    raise UnavailableError("no plots")


@pytest.fixture
def outcomes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[str]]]:
    """Runs a plugin through the suite of its base in a separate pytest session; ``only`` selects cases."""

    def run(plugin, *, only="", summary="For a test.", base=None, owner=("temporary", "testing"), **attributes):
        base = base or next(each for each in plugin.__mro__ if each in GOOD)
        suite, kinds, usual = GOOD[base]
        register = hookimpl(lambda register: register("subject", plugin, summary))
        body = {"name": "subject", "__module__": "subject", **usual, **attributes}
        module = SimpleNamespace(TestSubject=type("TestSubject", (suite,), body))
        monkeypatch.setitem(sys.modules, "subject", module)
        pytester.makepyfile("from subject import TestSubject")
        name, distribution = owner
        hooks = SimpleNamespace(**{f"textgen_register_{kinds}": register})
        with registered(hooks, name=name, distribution=distribution):
            monkeypatch.setattr(textgen.training.plot, "save_training_plot", no_plots)
            result = pytester.inline_run("-p", "no:cacheprovider", "-k", only)
        skipped: Any
        passed, skipped, failed = result.listoutcomes()
        assert all(report.when == "call" for report in failed), [str(report.longrepr) for report in failed]
        names = {report.nodeid.partition("[")[0].rpartition("::")[2] for report in failed}
        return {"failed": sorted(names), "passed": passed, "skipped": [report.longrepr[2] for report in skipped]}

    return run


@pytest.mark.parametrize("plugin", GOOD, ids=lambda plugin: plugin.__name__)
def test_a_good_plugin_passes(outcomes, plugin):
    result = outcomes(plugin)
    assert result["failed"] == []
    assert len(result["passed"]) >= 6
    assert any("no entry point" in reason for reason in result["skipped"])


#: Broken plugins by the case that they must fail.
BROKEN: dict[str, list[type]] = {}


def fails(case: str) -> Callable[[type], type]:
    """Marks a class with the case that it must fail."""

    def note(plugin: type) -> type:
        BROKEN.setdefault(case, []).append(plugin)
        return plugin

    return note


@fails("test_its_options_are_a_described_schema")
class HasAMuteOption(Halves):
    class Options(HalvesOptions):
        by: float = 2.0


@fails("test_its_options_are_a_described_schema")
class TakesAnyOption(Halves):
    class Options(HalvesOptions):
        model_config = ConfigDict(extra="allow")


@fails("test_its_options_come_back_from_json")
class DoublesAnOption(Halves):
    class Options(HalvesOptions):
        @field_validator("by")
        @classmethod
        def _double(cls, value):
            return value * 2


@fails("test_documents_are_texts_of_its_layout")
class HasAnEmptyDocument(TinyDocuments):
    def documents(self):
        yield from ("elm", "", "ash")


@fails("test_documents_are_texts_of_its_layout")
class HasHalfACharacter(TinyDocuments):
    def documents(self):
        yield "elm \ud800"


@fails("test_each_reading_gives_the_same_text")
class Shuffles(TinyDocuments):
    def documents(self):
        yield from random.sample(list(super().documents()), 48)


class CountedOptions(Options):
    count: int = Field(5, description="Documents.")


@fails("test_settled_options_find_the_same_text")
class ForgetsAnOption(TinyDocuments):
    Options = CountedOptions

    options: CountedOptions

    def documents(self):
        yield from list(super().documents())[: self.options.count]

    @property
    def settled_options(self):
        return CountedOptions(count=6)


@fails("test_labels_belong_to_the_documents")
class LabelsOtherTexts(TinyDocuments):
    is_labelled = True

    def labelled_documents(self):
        return (("tree", text) for text in reversed(list(self.documents())))


@fails("test_texts_have_the_normal_form_that_it_states")
class StatesAnotherForm(TinyDocuments):
    normalization = "NFC"

    def documents(self):
        yield "e\u0301"


@fails("test_provenance_names_sources_and_licence")
class ReadsAnywhere(TinyDocuments):
    def provenance(self):
        return Provenance((Source("/etc/passwd"),), "unknown")


@fails("test_fetching_makes_its_files_present")
class FetchesNothing(TinyDocuments):
    def fetch(self):
        return [Path("nowhere.txt")]


@fails("test_text_comes_back")
class LosesCapitals(Letters):
    def decode(self, ids):
        return super().decode(ids).lower()


@fails("test_ids_are_decoded_as_they_come")
@fails("test_a_text_is_the_same_if_it_is_streamed")
class StreamsPartsOfCharacters(Bytes):
    def decoder(self):
        return PlainDecoder(self.decode)


@fails("test_a_text_can_be_continued_wherever_it_is_cut")
class CountsFromTheStart(Letters):
    def decode(self, ids):
        texts = (Letters.decode(self, [i]) for i in ids)
        return "".join(text if number % 3 else text.upper() for number, text in enumerate(texts))

    def decoder(self):
        read: list[int] = []

        def feed(ids):
            before = len(self.decode(read))
            read.extend(ids)
            return self.decode(read)[before:]

        return SimpleNamespace(feed=feed, flush=lambda: "")


@fails("test_ids_are_decoded_as_they_come")
class ForgetsToFlush(Bytes):
    def decoder(self):
        return SimpleNamespace(feed=super().decoder().feed, flush=lambda: "")


@fails("test_a_text_cut_between_words_is_encoded_like_the_whole")
class JoinsTheBlankAfterAWord(Words):
    def words(self, text):
        return re.findall(r"\S+ ?|\s", text)


@fails("test_characters_are_counted_by_id")
class CountsItsBytes(Bytes):
    characters_per_id = np.ones(257, np.int32)


@fails("test_characters_are_counted_by_id")
class CountsItsWords(Words):
    @property
    def characters_per_id(self):
        return np.ones(self.vocab_size, np.int32)


class Begins(Letters):
    """Has an id for the beginning of a text, which is padding."""

    @property
    def pad_id(self):
        return len(self.texts)

    @property
    def vocab_size(self):
        return len(self.texts) + 1

    def encode(self, text, on_unknown=None):
        ids = super().encode(text, on_unknown)
        return np.concatenate([[self.pad_id], ids]).astype(np.int32) if text else ids

    def decode(self, ids):
        return super().decode([i for i in ids if i != self.pad_id])


@fails("test_a_text_begins_as_those_of_the_corpus")
@fails("test_a_text_cut_between_words_is_encoded_like_the_whole")
class BeginsWithPadding(Begins):
    pass


@fails("test_a_text_ends_at_a_stop_text")
class SharesItsDecoder(Letters):
    """Holds back the last id, even from the next text."""

    held: Sequence[int] = ()

    def decoder(self):
        return SimpleNamespace(feed=self.feed, flush=lambda: self.decode(self.held))

    def feed(self, ids):
        read = [*self.held, *ids]
        self.held = read[-1:]
        return self.decode(read[:-1])


class Grows(Letters):
    """A good tokenizer that grows."""

    def grow(self, texts):
        new = sorted(set("".join(texts)) - {*self.texts})
        self.texts = [*self.texts, *new]
        return np.array([*range(len(self.texts) - len(new)), *[-1] * len(new)], np.int32)


@fails("test_a_vocabulary_that_grows_keeps_its_ids")
class SortsWhatHasGrown(Grows):
    def grow(self, texts):
        before = super().grow(texts)
        self.texts.sort()
        return before


@fails("test_a_vocabulary_that_grows_keeps_its_ids")
class ForgetsWhatHasGrown(Grows):
    def fit(self, texts):
        super().fit(texts)
        self.fitted_on = self.texts

    def to_json(self):
        return {"texts": self.fitted_on}


@fails("test_ids_are_in_range")
class SaysTooFew(Letters):
    @property
    def vocab_size(self):
        return len(self.texts) - 1


@fails("test_ids_are_in_range")
class GivesWideIds(Letters):
    def encode(self, text, on_unknown=None):
        return super().encode(text, on_unknown).astype(np.int64)


@fails("test_a_batch_is_encoded_like_its_single_texts")
class ForgetsWhereTextsEnd(Letters):
    def encode_batch(self, texts):
        ids = self.encode("".join(texts))
        return ids, np.array([len(ids)])


@fails("test_special_ids_are_consistent")
class PromisesAnEnd(Letters):
    has_eos = True


@fails("test_special_ids_are_consistent")
class ForbidsAll(Letters):
    @property
    def forbidden_ids(self):
        return tuple(range(self.vocab_size))


@fails("test_the_vocabulary_comes_back_from_json")
class SortsOnTheWay(Letters):
    def to_json(self):
        return {"texts": sorted(self.texts, reverse=True)}


@fails("test_an_invalid_vocabulary_is_an_error")
class TakesAnything(Letters):
    def load_json(self, vocabulary):
        self.texts = vocabulary.get("texts") or []


@fails("test_fitting_again_gives_the_same_vocabulary")
class DrawsItsOrder(Letters):
    def fit(self, texts):
        super().fit(texts)
        random.shuffle(self.texts)


@fails("test_an_unknown_character_is_handled_as_requested")
class SkipsInSilence(Letters):
    def encode(self, text, on_unknown=None):
        return super().encode(text, "skip")


@fails("test_an_unknown_character_is_handled_as_requested")
class CountsWordsInsteadOfCharacters(Words):
    def encode(self, text, on_unknown=None):
        try:
            return super().encode(text, on_unknown)
        except UnknownCharacterError as error:
            raise UnknownCharacterError(error.character, self.words(text).index(error.character) + 1) from None


@fails("test_an_unknown_character_is_handled_as_requested")
class PromisesAnUnknownId(Letters):
    def encode(self, text, on_unknown=None):
        try:
            return super().encode(text, on_unknown)
        except UnknownCharacterError as error:
            raise UnknownCharacterError(error.character, error.position, ["skip", "unk"]) from None


@fails("test_a_row_alone_is_the_row_in_a_batch")
class LooksAtItsNeighbours(Halves):
    def transform(self, logits, parameters, seen):
        return np.where(logits > -np.inf, logits - logits.max(), logits) / parameters["by"]


@fails("test_each_row_has_its_own_numbers")
@fails("test_its_graph_does_the_same")
class UsesItsOwnNumbers(Halves):
    options: HalvesOptions

    def transform(self, logits, parameters, seen):
        return (logits / self.options.by).astype(np.float32)


@fails("test_it_maps_logits_to_logits")
class ExcludesAll(Halves):
    def transform(self, logits, parameters, seen):
        return np.full_like(logits, -np.inf)


@fails("test_it_maps_logits_to_logits")
class RevivesTheExcluded(Halves):
    def transform(self, logits, parameters, seen):
        return np.maximum(logits, np.float32(-1000))


@fails("test_it_maps_logits_to_logits")
class WritesToItsArgument(Halves):
    def transform(self, logits, parameters, seen):
        logits /= parameters["by"]
        return logits


@fails("test_it_maps_logits_to_logits")
class WidensItsResult(Halves):
    def transform(self, logits, parameters, seen):
        return logits.astype(np.float64)


@fails("test_ties_go_to_the_lower_id")
class PrefersTheHigher(Halves):
    def transform(self, logits, parameters, seen):
        return logits + np.arange(logits.shape[1], dtype=np.float32)


@fails("test_it_is_written_in_a_chain")
class HidesAParameter(Halves):
    @property
    def parameters(self):
        return {**super().parameters, "hidden": 1.0}


@fails("test_its_neutral_numbers_change_nothing")
class CallsAHalfNeutral(Halves):
    neutral = MappingProxyType({"by": 2.0})


@fails("test_its_neutral_numbers_change_nothing")
class NamesNotAllOfItsNumbers(Halves):
    neutral = MappingProxyType({})


@fails("test_it_draws_one_id_per_row")
class DrawsTheExcluded(Last):
    def select(self, logits, uniforms):
        return np.zeros(len(logits), np.int32)


@fails("test_a_row_alone_is_the_row_in_a_batch")
class DrawsByPosition(Last):
    def select(self, logits, uniforms):
        first = (logits > -np.inf).argmax(axis=1)
        return np.where(np.arange(len(logits)) % 2, super().select(logits, uniforms), first).astype(np.int32)


@fails("test_its_graph_draws_the_same")
class EmitsTheLikeliest(Last):
    def emit(self, graph, logits, uniforms):
        return graph.add("ArgMax", logits, axis=1, keepdims=0)


@fails("test_reading_in_parts_is_reading_at_once")
class ForgetsBetweenParts(CountingModel):
    def forward(self, ids, state, lengths=None):
        return super().forward(ids, self.state_spec.initial_state(len(ids)), lengths)


@fails("test_a_row_alone_is_the_row_in_a_batch")
class AveragesItsRows(CountingModel):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits - logits.mean(axis=0), after


@fails("test_padding_is_not_read")
class ReadsPadding(CountingModel):
    def forward(self, ids, state, lengths=None):
        return super().forward(ids, state)


@fails("test_it_changes_nothing_and_remembers_nothing")
class WritesToTheState(CountingModel):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state.copy(), lengths)
        state["before"][:] = 0
        return logits, after


@fails("test_it_changes_nothing_and_remembers_nothing")
class Remembers(CountingModel):
    calls = 0

    def forward(self, ids, state, lengths=None):
        self.calls += 1
        logits, after = super().forward(ids, state, lengths)
        return logits + np.float32(self.calls), after


@fails("test_logits_and_state_have_their_shapes")
class GivesWideLogits(CountingModel):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits.astype(np.float64), after


@fails("test_resuming_gives_the_same_as_not_stopping")
class StartsAnew(CountingModel):
    def _restore(self, checkpoint):
        epoch = super()._restore(checkpoint)
        self._counts[:] = 0
        return epoch


@fails("test_resuming_from_a_checkpoint_within_an_epoch_gives_the_same")
class SavesTheMiddleOfAnEpochAsItsBeginning(CountingModel):
    def _checkpoint(self, epoch):
        checkpoint = super()._checkpoint(epoch)
        return replace(checkpoint, numbers={"nats": 0.0, "characters": 0})


@fails("test_fitting_reports_what_it_does")
class CountsPadding(CountingModel):
    def _loss(self, batch, state):
        loss, _ = super()._loss(batch, state)
        return loss, batch.weights.size


@fails("test_fitting_learns")
class LearnsNothing(CountingModel):
    def fit(self, dataset, run):
        run.batches = lambda position, batches=run.batches: (
            type(batch)(batch.inputs, batch.targets, batch.weights * 0) for batch in batches(position)
        )
        super().fit(dataset, run)


@fails("test_the_seed_decides")
class IsFittedByChance(CountingModel):
    def fit(self, dataset, run):
        super().fit(dataset, run)
        self._counts += np.float32(random.random())


@fails("test_weights_come_back")
class LoadsOthers(CountingModel):
    def load_weights(self, tensors):
        super().load_weights(tensors)
        self._counts = self._counts + 1


@fails("test_weights_that_do_not_fit_are_refused")
class LoadsAnything(CountingModel):
    def load_weights(self, tensors):
        self._counts = np.array(next(iter(tensors.values())) if tensors else 0)


@fails("test_its_properties_are_known_without_weights")
class RunsNowhere(CountingModel):
    native_runtime = "nowhere"


@fails("test_options_that_it_declares_exist")
class DeclaresTheUnknown(CountingModel):
    adjustable = ("dropout",)


@fails("test_fitting_starts_from_loaded_weights")
class ForgetsWhatItLoaded(CountingModel):
    def fit(self, dataset, run):
        if run.checkpoint is None:
            self._counts = np.zeros_like(self._counts)
        super().fit(dataset, run)


@fails("test_weights_are_converted_to_a_vocabulary_that_grew")
class AddsAtTheEnd(CountingModel):
    def grow_weights(self, tensors, old_ids):
        more = len(old_ids) - tensors["counts"].shape[1]
        return {"counts": np.pad(tensors["counts"], [(0, more)] * 3)}


@fails("test_suggested_options_exist")
class SuggestsTheUnknown(CountingModel):
    @classmethod
    def suggested_options(cls, characters, labels=0):
        return {"units": 5}


@fails("test_its_description_is_the_same_model")
class DescribesAnother(FixedGRU):
    def describe(self, weights):
        return super().describe({**weights, "head.bias": weights["head.bias"] + 1})


@fails("test_a_run_of_it_is_saved_and_loaded")
class IsNotWhatItSaves(CountingModel):
    def weights(self):
        return {"counts": self._counts * 0}


@fails("test_it_writes_what_it_reports")
class ReportsWhatIsNotThere(Dump):
    def export(self, source, folder):
        return ExportReport(folder, ("weights.bin",), super().export(source, folder).parity)


@fails("test_it_reports_how_far_it_is_from_its_source")
@fails("test_another_model_than_its_source_is_an_error_that_leaves_nothing")
class ComparesNothing(Dump):
    def compare(self, source, weights):
        return {}


@fails("test_a_failure_leaves_nothing")
@fails("test_a_failure_leaves_the_former_export")
class WritesFirst(Dump):
    def export(self, source, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "weights.json").write_text(str(random.random()))
        weights = {name: array.tolist() for name, array in source.artifact.weights().items()}
        return ExportReport(folder, ("weights.json",), self.compare(source, weights))


@fails("test_what_it_did_not_write_is_kept")
class ClearsTheFolder(Dump):
    def export(self, source, folder):
        shutil.rmtree(folder, ignore_errors=True)
        return super().export(source, folder)


@fails("test_it_gives_the_logits_of_the_model")
class RunsAnother(ModelRuntime):
    def forward(self, ids, state, lengths=None):
        logits, after = super().forward(ids, state, lengths)
        return logits * np.float32(1.01), after


@fails("test_a_prompt_and_a_step_are_the_same_as_reading_at_once")
class StepsFromTheStart(ModelRuntime):
    def step(self, ids, state):
        return super().step(ids, self.initial_state(len(ids)))


@fails("test_a_prompt_and_a_step_are_the_same_as_reading_at_once")
class PrefillsPadding(ModelRuntime):
    def prefill(self, ids, state, lengths=None):
        return super().prefill(ids, state)


@fails("test_a_prompt_may_be_read_in_pieces")
class ReadsPiecesFromTheStart(ModelRuntime):
    def prefill(self, ids, state, lengths=None):
        for piece, counts in self.pieces(ids, lengths):
            after = self.forward(piece, state, counts)[1]
        return after


@fails("test_one_seed_gives_one_text")
class DrawsOnItsOwn(ModelRuntime):
    def generate(self, ids, state, chain, uniforms):
        return super().generate(ids, state, chain, np.random.default_rng().random(uniforms.shape, np.float32))


@fails("test_one_seed_gives_one_text")
class ForgetsItsState(ModelRuntime):
    def generate(self, ids, state, chain, uniforms):
        return Block(super().generate(ids, state, chain, uniforms).ids, state)


@fails("test_a_missing_device_is_an_error")
class TakesAnyDevice(ModelRuntime):
    @classmethod
    def open(cls, artifact, make_model, device="auto"):
        return super().open(artifact, make_model, "cpu")


@fails("test_it_has_the_properties_of_the_run")
class HasAnotherState(ModelRuntime):
    def initial_state(self, batch):
        return State({name: array + 1 for name, array in super().initial_state(batch).items()})


@fails("test_it_diagnoses_this_machine")
class TellsTexts(ModelRuntime):
    @classmethod
    def diagnose(cls):
        return ["all is well"]


@pytest.mark.parametrize(
    ("case", "plugin"),
    [pytest.param(case, plugin, id=plugin.__name__) for case, plugins in BROKEN.items() for plugin in plugins],
)
def test_a_broken_plugin_fails(outcomes, case, plugin):
    assert outcomes(plugin, only=case)["failed"] == [case]


def test_every_case_was_seen_to_fail():
    cases = {name for suite, _, _ in GOOD.values() for name in dir(suite) if name.startswith("test_")}
    elsewhere = {
        "test_it_has_a_name_and_a_summary",
        "test_it_has_the_interface",
        "test_its_import_is_light",
        "test_it_ends_a_chain",
        "test_its_keras_step_is_the_same_model",
    }
    assert cases - BROKEN.keys() == elsewhere


def test_a_name_without_a_summary_fails(outcomes):
    case = "test_it_has_a_name_and_a_summary"
    assert outcomes(Letters, only=case, summary=" ")["failed"] == [case]


@pytest.mark.parametrize("plugin", [TinyDocuments, Selector, "textgen.testing.tiny:TEXT"])
def test_another_interface_fails(outcomes, plugin):
    case = "test_it_has_the_interface"
    assert outcomes(plugin, only=case, base=Halves)["failed"] == [case]


def test_a_selector_that_is_a_sampler_fails(outcomes):
    assert outcomes(Halves, only="test_it_ends_a_chain", base=Last)["failed"] == ["test_it_ends_a_chain"]


@pytest.mark.parametrize(
    ("package", "module"),
    [("", ""), ("import tensorflow", ""), ("", "import tensorflow")],
    ids=["light", "package", "module"],
)
def test_a_heavy_import_fails(outcomes, tmp_path, monkeypatch, package, module):
    site = tmp_path / "site"
    info = site / "textgen_heavy-1.0.dist-info"
    (site / "textgen_heavy").mkdir(parents=True)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: textgen-heavy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[textgen]\nheavy = textgen_heavy\n")
    (site / "tensorflow.py").write_text("")
    target = "textgen_heavy.letters:Letters"
    hook = f"@hookimpl\ndef textgen_register_tokenizers(register):\n    register('subject', {target!r})"
    (site / "textgen_heavy" / "__init__.py").write_text(f"from textgen import hookimpl\n{package}\n{hook}\n")
    (site / "textgen_heavy" / "letters.py").write_text(f"{module}\nclass Letters: pass\n")
    monkeypatch.syspath_prepend(site)
    case = "test_its_import_is_light"
    failed = outcomes(Letters, only=case, owner=("heavy", "textgen-heavy"))["failed"]
    assert failed == ([case] if package or module else [])
