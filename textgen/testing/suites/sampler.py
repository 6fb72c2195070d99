"""The requirements for samplers and selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from textgen import Logits, Parameters, Sampler, Selector
from textgen.options import build_options
from textgen.plugins.registry import plugins
from textgen.testing.graph import OnnxGraph
from textgen.testing.suites.plugin import OptionsSuite

V = 11
ROWS = 40


def some_logits() -> Logits:
    """``[ROWS, V]``: close, far apart, and with many ties; some ids are excluded, in the last row all but one."""
    rng = np.random.default_rng(3)
    near = rng.normal(0, 1, (ROWS, V))
    far = rng.normal(0, 12, (ROWS, V))
    tied = np.round(rng.normal(0, 1, (ROWS, V)))
    kind = np.arange(ROWS)[:, None] % 3
    logits = np.where(kind == 0, near, np.where(kind == 1, far, tied)).astype(np.float32)
    logits[rng.random((ROWS, V)) < 0.2] = -np.inf
    logits[:, 4] = np.where(np.isfinite(logits).any(axis=1), logits[:, 4], 0)
    logits[-1] = np.where(np.arange(V) == 6, 1, -np.inf)
    return logits


class SamplerSuite(OptionsSuite):
    """Cases for a :class:`textgen.Sampler`.

    Example:
        >>> class TestTopK(SamplerSuite):
        ...     name = "top-k"
        ...     options = {"k": 3}
        ...     more_options = ({"k": 1}, {"k": 100})

    Attributes:
        more_options: other option values, used for other rows of the same batch.
    """

    kind = "sampler"
    interface = Sampler

    more_options: ClassVar[Sequence[Mapping[str, Any]]] = ()

    @pytest.fixture
    def logits(self) -> Logits:
        """See :func:`some_logits`."""
        return some_logits()

    @pytest.fixture
    def seen(self) -> NDArray[np.bool_] | None:
        """The ids that have occurred in each row, for a sampler that uses the history."""
        if not self.make().uses_history:
            return None
        return np.random.default_rng(4).random((ROWS, V)) < 0.3

    @pytest.fixture
    def parameters(self) -> Parameters:
        """The numbers of :attr:`options` and of each of :attr:`more_options`, alternating between rows."""
        every = [sampler.parameters for sampler in self.samplers()]
        return {
            name: np.array([[every[row % len(every)][name]] for row in range(ROWS)], np.float32) for name in every[0]
        }

    def samplers(self) -> list[Sampler]:
        """The sampler with each of the options."""
        schema = self.provided.load().Options
        values = (self.options, *self.more_options)
        return [self.provided.load()(build_options(schema, each, where=self.name)) for each in values]

    def run_graph(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> NDArray[Any] | None:
        """What the sampler's ONNX nodes make of logits; ``None`` if it emits none."""
        graph = OnnxGraph(V)
        names = {name: f"parameter.{name}" for name in parameters}
        output = self.make().emit(graph, "logits", names, None if seen is None else "seen")
        if output is None:
            return None
        feeds: dict[str, NDArray[Any]] = {"logits": logits}
        feeds |= {names[name]: values for name, values in parameters.items()}
        return graph.run(output, feeds if seen is None else feeds | {"seen": seen})

    def light_use(self) -> str:
        return f"from textgen.plugins import plugins\nplugins().get('sampler', {self.name!r})"

    def test_it_maps_logits_to_logits(
        self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None
    ) -> None:
        before = logits.copy(), {name: values.copy() for name, values in parameters.items()}
        seen_before = None if seen is None else seen.copy()
        result = self.make().transform(logits, parameters, seen)
        assert result.shape == logits.shape
        assert result.dtype == np.float32
        assert not np.isnan(result).any()
        assert (result < np.inf).all()
        assert np.isfinite(result).any(axis=1).all(), "at least one id remains"
        assert (result[logits == -np.inf] == -np.inf).all(), "an excluded id remains excluded"
        np.testing.assert_array_equal(logits, before[0])
        for name, values in before[1].items():
            np.testing.assert_array_equal(parameters[name], values)
        np.testing.assert_array_equal(seen, seen_before)

    def test_a_row_alone_is_the_row_in_a_batch(
        self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None
    ) -> None:
        sampler = self.make()
        together = sampler.transform(logits, parameters, seen)
        for row in range(ROWS):
            at = slice(row, row + 1)
            own = {name: values[at] for name, values in parameters.items()}
            alone = sampler.transform(logits[at], own, None if seen is None else seen[at])
            np.testing.assert_array_equal(alone, together[at])

    def test_each_row_has_its_own_numbers(
        self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None
    ) -> None:
        together = self.make().transform(logits, parameters, seen)
        samplers = self.samplers()
        for number, sampler in enumerate(samplers):
            rows = slice(number, None, len(samplers))
            own = {name: values[rows] for name, values in parameters.items()}
            np.testing.assert_array_equal(
                sampler.transform(logits[rows], own, None if seen is None else seen[rows]), together[rows]
            )

    def test_ties_go_to_the_lower_id(
        self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None
    ) -> None:
        result = self.make().transform(logits, parameters, seen)
        for row, (given, found) in enumerate(zip(logits, result, strict=True)):
            for low in range(V):
                for high in range(low + 1, V):
                    if given[low] == given[high] and (seen is None or seen[row, low] == seen[row, high]):
                        assert found[low] >= found[high]

    def test_it_is_written_in_a_chain(self) -> None:
        for sampler in self.samplers():
            values = ", ".join(map(repr, sampler.options.model_dump().values()))
            (built,) = plugins().chain(f"{self.name}({values}) | greedy").samplers
            assert built.options == sampler.options
            assert list(built.parameters) == list(type(sampler.options).model_fields)
            assert all(isinstance(number, float) for number in built.parameters.values())

    def test_its_neutral_numbers_change_nothing(self, logits: Logits, seen: NDArray[np.bool_] | None) -> None:
        sampler = self.make()
        if sampler.neutral is None:
            pytest.skip("it has no numbers with which it changes nothing")
        neutral = build_options(self.provided.load().Options, sampler.neutral, where=self.name)
        assert self.provided.load()(neutral).parameters == sampler.neutral
        parameters = {name: np.full((ROWS, 1), number, np.float32) for name, number in sampler.neutral.items()}
        assert sampler.transform(logits, parameters, seen).tobytes() == logits.tobytes()
        found = self.run_graph(logits, parameters, seen)
        if found is not None:
            np.testing.assert_array_equal(found, logits)  # bit for bit, but for the sign of 0: Where loses it

    def test_its_graph_does_the_same(
        self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None
    ) -> None:
        found = self.run_graph(logits, parameters, seen)
        if found is None:
            pytest.skip("it emits no graph and runs outside of it")
        np.testing.assert_allclose(found, self.make().transform(logits, parameters, seen), rtol=1e-5, atol=1e-5)


class SelectorSuite(OptionsSuite):
    """Cases for a :class:`textgen.Selector`.

    Example:
        >>> class TestGreedy(SelectorSuite):
        ...     name = "greedy"
    """

    kind = "sampler"
    interface = Selector

    @pytest.fixture
    def logits(self) -> Logits:
        """See :func:`some_logits`."""
        return some_logits()

    @pytest.fixture
    def uniforms(self) -> NDArray[np.float32]:
        """``[ROWS]``, including the smallest and the largest possible ones."""
        numbers = np.random.default_rng(5).random(ROWS, np.float32)
        numbers[::5], numbers[1::5] = 0, 1 - 2**-24
        return numbers

    def light_use(self) -> str:
        return f"from textgen.plugins import plugins\nplugins().get('sampler', {self.name!r})"

    def test_it_draws_one_id_per_row(self, logits: Logits, uniforms: NDArray[np.float32]) -> None:
        before, drawn_from = logits.copy(), uniforms.copy()
        ids = self.make().select(logits, uniforms)
        assert ids.shape == (ROWS,)
        assert ids.dtype == np.int32
        assert (ids >= 0).all()
        assert (ids < V).all()
        assert (logits[np.arange(ROWS), ids] > -np.inf).all(), "an excluded id was drawn"
        np.testing.assert_array_equal(logits, before)
        np.testing.assert_array_equal(uniforms, drawn_from)

    def test_a_row_alone_is_the_row_in_a_batch(self, logits: Logits, uniforms: NDArray[np.float32]) -> None:
        together = self.make().select(logits, uniforms)
        np.testing.assert_array_equal(self.make().select(logits, uniforms), together)
        for row in range(ROWS):
            at = slice(row, row + 1)
            np.testing.assert_array_equal(self.make().select(logits[at], uniforms[at]), together[at])

    def test_it_ends_a_chain(self) -> None:
        values = ", ".join(map(repr, self.make().options.model_dump().values()))
        chain = plugins().chain(f"temperature(0.8) | {self.name}{f'({values})' if values else ''}")
        assert isinstance(chain.selector, self.provided.load())
        assert chain.selector.options == self.make().options

    def test_its_graph_draws_the_same(self, logits: Logits, uniforms: NDArray[np.float32]) -> None:
        graph = OnnxGraph(V)
        output = self.make().emit(graph, "logits", "uniforms")
        if output is None:
            pytest.skip("it emits no graph and runs outside of it")
        found = graph.run(output, {"logits": logits, "uniforms": uniforms[:, None]})
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, self.make().select(logits, uniforms))
