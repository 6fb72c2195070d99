from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from textgen.errors import OptionError, UnknownNameError
from textgen.options import Options
from textgen.plugins.registry import plugins
from textgen.sampling.chain import ORDER, Chain, edit_chain, read_links
from textgen.sampling.draw import Draw
from textgen.sampling.sampler import Sampler, Selector


def make(text: str) -> Chain:
    return Chain(text, lambda name: plugins().get("sampler", name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("greedy", [("greedy", ())]),
        (" top-k( 40 )|multinomial ", [("top-k", ("40",)), ("multinomial", ())]),
        ("a() | b(x=1, y = 2)", [("a", ()), ("b", ("x=1", "y = 2"))]),
    ],
)
def test_a_chain_is_links_between_bars(text, expected):
    assert [(link.name, link.arguments) for link in read_links(text)] == expected


@pytest.mark.parametrize(
    "text", ["", " ", "|", "greedy |", "top-k(4 | greedy", "top-k 4 | greedy", "Top-K(4) | greedy", "f((4)) | greedy"]
)
def test_text_that_is_not_a_chain_is_quoted_with_an_example(text):
    with pytest.raises(OptionError, match="is not of the form name or name"):
        read_links(text)


@pytest.mark.parametrize("filler", [" ", "a", "-", "(", ")", ",", "|", "\t", "'", "a ", "()", "a|", "1"])
@pytest.mark.parametrize("length", [3_900, 40_000, 1_000_000])
def test_a_long_chain_is_refused_at_once(filler, length):
    began = perf_counter()
    for text in (f"a{filler * (length // len(filler))}b c", f"a({filler * (length // len(filler))}"):
        with pytest.raises(
            OptionError, match=r"is not of the form|has more than 4,000 characters or 100 links"
        ) as raised:
            read_links(text)
        assert len(str(raised.value)) < 400
    assert perf_counter() - began < 1


def test_a_chain_of_a_hundred_links_is_read():
    assert len(read_links("top-k(4) | " * 99 + "greedy")) == 100
    with pytest.raises(OptionError, match="100 links; write a shorter one"):
        read_links("top-k(4) | " * 100 + "greedy")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("temperature(0.8)", OptionError, "must end in a selector: append '| multinomial' or '| greedy'"),
        ("greedy | multinomial", OptionError, "greedy in the sampler chain .* can only stand at its end"),
        ("top-q(3) | greedy", UnknownNameError, "unknown sampler 'top-q'; did you mean top-"),
        ("top-k(3, 4) | greedy", OptionError, r"top-k\(3, 4\) has 2 arguments, top-k takes 1"),
        ("top-k(n=3) | greedy", OptionError, "top-k has no option 'n'; there are: k"),
        ("greedy(1)", OptionError, "has 1 arguments, greedy takes 0"),
        ("top-k(none) | greedy", OptionError, "top-k.k must be a whole number"),
    ],
)
def test_a_chain_that_cannot_be_built_says_why(text, error, message):
    with pytest.raises(error, match=message) as raised:
        make(text)
    assert "\n" not in str(raised.value)


def test_a_chain_keeps_its_text():
    chain = make("  top-k(k=3)|temperature( 0.50 )  |multinomial()")
    assert str(chain) == "top-k(k=3) | temperature(0.50) | multinomial"
    assert chain.names == ("top-k", "temperature", "multinomial")
    assert [sampler.parameters for sampler in chain.samplers] == [{"k": 3.0}, {"temperature": 0.5}]
    assert str(make(str(chain))) == str(chain)
    assert not chain.uses_history
    assert make("repetition-penalty | greedy").uses_history


class PairOptions(Options):
    first: int = Field(1)
    second: int = Field(2)


class Pair(Sampler):
    Options = PairOptions

    def transform(self, logits: Any, parameters: Any, seen: Any) -> Any:
        return logits


class Constant(Selector):
    Options = PairOptions

    options: PairOptions

    def select(self, logits: Any, uniforms: Any) -> Any:
        return np.full(len(logits), self.options.first, np.int32)


def make_own(text: str) -> Chain:
    own: dict[str, type[Sampler] | type[Selector]] = {"pair": Pair, "constant": Constant}
    return Chain(text, own.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pair | constant", (1, 2)),
        ("pair(5) | constant", (5, 2)),
        ("pair(5, 6) | constant", (5, 6)),
        ("pair(second=6) | constant", (1, 6)),
        ("pair(5, second=6) | constant", (5, 6)),
        ("pair(second=6, first=5) | constant", (5, 6)),
    ],
)
def test_arguments_are_given_by_position_or_by_name(text, expected):
    assert tuple(make_own(text).samplers[0].parameters.values()) == expected


def test_giving_an_argument_twice_is_an_error():
    with pytest.raises(OptionError, match=r"pair\(second=5, 6\) gives second twice"):
        make_own("pair(second=5, 6) | constant")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("temperature(0.8) | multinomial", {}, "temperature(0.8) | multinomial"),
        ("temperature(0.8) | multinomial", {"temperature": 0.5}, "temperature(0.5) | multinomial"),
        ("temperature(0.8) | multinomial", {"temperature": 1}, "temperature(1) | multinomial"),
        ("temperature(0.8) | multinomial", {"temperature": 1.0}, "temperature(1) | multinomial"),
        ("multinomial", {"top-k": 40}, "top-k(40) | multinomial"),
        ("top-k(4) | multinomial", {"temperature": 2.0}, "temperature(2) | top-k(4) | multinomial"),
        ("multinomial", {"min-p": 0.1, "top-p": 0.5}, "top-p(0.5) | min-p(0.1) | multinomial"),
        (
            "a | temperature(1) | greedy",
            {"repetition-penalty": 2},
            "a | repetition-penalty(2) | temperature(1) | greedy",
        ),
        ("own | multinomial", {"top-k": 3}, "own | top-k(3) | multinomial"),
        ("greedy", {"temperature": 0.5}, "temperature(0.5) | multinomial"),
        ("greedy", {"top-k": 5}, "top-k(5) | greedy"),
        ("top-k(3) | temperature(5) | greedy", {"temperature": 0.7}, "top-k(3) | temperature(0.7) | multinomial"),
    ],
)
def test_single_settings_change_a_chain(text, values, expected):
    assert edit_chain(text, values) == expected


@given(st.floats(0, 1e6), st.integers(1, 10**9))
def test_an_edit_keeps_the_number(temperature, k):
    first, second = make(edit_chain("multinomial", {"temperature": temperature, "top-k": k})).samplers
    assert first.parameters["temperature"] == pytest.approx(temperature, rel=1e-14)
    assert second.parameters["k"] == k


@given(st.lists(st.sampled_from(ORDER), unique=True).map(lambda names: dict.fromkeys(names, 0.5)))
@settings(max_examples=30)
def test_single_settings_are_inserted_in_the_documented_order(values):
    *names, end = (link.name for link in read_links(edit_chain("multinomial", values)))
    assert names == [name for name in ORDER if name in values]
    assert end == "multinomial"


@st.composite
def bundled(draw):
    """A chain of bundled samplers in the usual order."""
    parts = {
        "repetition-penalty": st.sampled_from([1, 1.3, 0.5]),
        "temperature": st.sampled_from([0, 0.4, 1, 3]),
        "top-k": st.sampled_from([1, 2, 5, 99]),
        "top-p": st.sampled_from([0.1, 0.6, 1]),
        "min-p": st.sampled_from([0, 0.2, 1]),
    }
    chosen = [f"{name}({draw(numbers)})" for name, numbers in parts.items() if draw(st.booleans())]
    return " | ".join([*chosen, draw(st.sampled_from(["multinomial", "greedy"]))])


@given(
    text=bundled(),
    logits=st.lists(st.sampled_from([-9.0, -1.0, -0.9999999, 0.0, 0.1, 2.5, 2.5000002]), min_size=6, max_size=6),
    seen=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_a_chain_of_bundled_samplers_draws_the_same_in_a_common_form(text, logits, seen):
    chain = plugins().chain(text)
    common = chain.common
    assert common.names in (
        ("temperature", "multinomial"),
        ("repetition-penalty", "temperature", "top-k", "top-p", "min-p", "multinomial"),
    )
    uniforms = np.linspace(0, 1 - 2**-24, 97, dtype=np.float32)
    drawn = []
    for each in (chain, common):
        draw = Draw([each] * len(uniforms), len(logits))
        draw.note(np.arange(len(uniforms))[:, None], np.flatnonzero(seen).astype(np.int32)[None])
        drawn.append(draw.draw(np.array([logits] * len(uniforms), np.float32), uniforms).tolist())
    assert drawn[0] == drawn[1]


def test_chains_that_only_need_a_temperature_share_the_plain_form():
    for text in ("multinomial", "temperature(0.7) | multinomial"):
        assert plugins().chain(text).common.names == ("temperature", "multinomial")
    assert str(plugins().chain("temperature(0.7) | multinomial").common) == "temperature(0.7) | multinomial"


@pytest.mark.parametrize(
    "text",
    ["top-p(0.5) | top-k(3) | multinomial", "top-k(3) | top-k(2) | greedy", "min-p(0.1) | temperature(2) | greedy"],
)
def test_a_chain_in_another_order_has_no_common_form(text):
    chain = plugins().chain(text)
    assert chain.common is chain


def test_the_parts_of_third_parties_have_no_common_form():
    def owner(name: str) -> str | None:
        return "the sampler of a plugin" if name == "top-p" else None

    # Whether the chain has it or would get it.
    for text in ("top-p(0.5) | multinomial", "top-k(5) | multinomial"):
        chain = Chain(text, lambda name: plugins().get("sampler", name), owner)
        assert chain.common is chain
    assert Chain("multinomial", lambda name: plugins().get("sampler", name), owner).common.names[0] == "temperature"
