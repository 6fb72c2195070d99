import pytest

from textgen.errors import OptionError
from textgen.generation.request import GenerationOptions, Request, Wishes
from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain


def of(defaults: GenerationOptions | None = None, **wishes):
    return Request.of(defaults or GenerationOptions.model_validate({}), plugins().chain, **wishes)


def test_every_wish_becomes_part_of_the_request():
    request = of(
        prompt=["a", "b"],
        num=2,
        length=7,
        seed=3,
        rows=[9, 8, 7, 6],
        stop="x",
        ignore_eos=True,
        on_unknown="skip",
        score=True,
        chunk=5,
        stream=True,
        keep_state=True,
    )
    assert isinstance(request.chains[0], Chain)
    assert request == Request(
        prompts=("a", "a", "b", "b"),
        length=7,
        chains=request.chains,
        seed=3,
        row_seeds=(9, 8, 7, 6),
        stop=("x",),
        ignore_eos=True,
        on_unknown="skip",
        score=True,
        chunk=5,
        stream=True,
        keep_state=True,
    )


def test_the_defaults_of_the_run_apply_to_all_else():
    defaults = GenerationOptions(prompt="ab", length=9, sampler="top-k(3) | greedy", stop=("z",))
    request = of(defaults)
    assert (request.prompts, request.length, request.stop) == (("ab",), 9, ("z",))
    assert [str(chain) for chain in request.chains] == ["top-k(3) | greedy"]
    assert (of().prompts, of().length, of().stop) == (("",), 400, ())


def test_an_unknown_wish_is_a_mistake_of_the_program():
    with pytest.raises(OptionError, match="a request has no option 'temprature'"):
        of(temprature=0.5)
    assert {"temperature", "rows", "seed"} < Wishes.__annotations__.keys()


def test_a_chain_and_single_samplers_exclude_each_other():
    with pytest.raises(OptionError, match="temperature, top-k exclude each other"):
        of(sampler="greedy", top_k=3, temperature=1.0)
