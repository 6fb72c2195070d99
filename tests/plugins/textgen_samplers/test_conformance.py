"""The bundled samplers in the public suites."""

from textgen.testing.suites import SamplerSuite, SelectorSuite


class TestTemperature(SamplerSuite):
    name = "temperature"
    options = {"temperature": 0.7}
    more_options = ({"temperature": 0}, {"temperature": 1.9})


class TestTopK(SamplerSuite):
    name = "top-k"
    options = {"k": 3}
    more_options = ({"k": 1}, {"k": 100})


class TestTopP(SamplerSuite):
    name = "top-p"
    options = {"p": 0.7}
    more_options = ({"p": 1}, {"p": 0.001})


class TestMinP(SamplerSuite):
    name = "min-p"
    options = {"p": 0.2}
    more_options = ({"p": 0}, {"p": 1})


class TestRepetitionPenalty(SamplerSuite):
    name = "repetition-penalty"
    options = {"penalty": 1.5}
    more_options = ({"penalty": 1}, {"penalty": 0.5})


class TestGreedy(SelectorSuite):
    name = "greedy"


class TestMultinomial(SelectorSuite):
    name = "multinomial"
