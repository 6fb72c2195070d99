"""What the engine refuses, each in one line of its own error: options, states, sampler chains and damaged models."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.textgen_web.conftest import assert_same_texts, in_javascript
from tests.exports.textgen_web.places import evaluate
from textgen import api
from textgen.errors import OptionError

OPTIONS = {
    "written(5)": "options is 5; it must be an object",
    "written({lenght: 3})": 'there is no option "lenght"; there are: label, signal, prompt, length, temperature, topK, '
    "topP, minP, repetitionPenalty, sampler, seed, row, ignoreEos, onUnknown, stop, state",
    "written({prompt: 7})": "prompt is 7; it must be a text",
    "written({length: Symbol('x')})": "length is Symbol(x); it must be a whole number from 1 to 1000000000",
    "written({temperature: ''})": 'temperature is ""; it must be a number',
    "written({temperature: '0x10'})": 'temperature is "0x10"; it must be a number',
    "written({topK: []})": "topK is [object Array]; it must be a number",
    "written({topP: NaN})": "top-p(NaN): p must be a number from 0.000001 to 1",
    "written({sampler: {}})": "sampler is [object Object]; it must be a text",
    "written({sampler: 'constructor'})": "the sampler chain 'constructor' must end in a selector",
    "written({sampler: 'constructor | greedy'})": "there is no sampler 'constructor'",
    "written({label: ['x']})": "label is [object Array]; it must be a text",
    "written({stop: ['a', 5]})": "stop.1 is 5; it must be a text",
    "written({ignoreEos: 'no'})": 'ignoreEos is "no"; it must be true or false',
    "written({onUnknown: 5n})": 'onUnknown is 5; it must be "error" or "skip" or "unk"',
    "written({signal: 5})": "signal is 5; it must be an AbortSignal",
    "written({state: ''})": 'state is ""; it must be an object',
    "generator.score('an', {state: {}})": 'there is no option "state"; there are: label, signal',
    "generator.score()": "text is undefined; it must be a text",
    "generator.probabilities('an', 5)": "options is 5; it must be an object",
    "generator.score('Ω')": '"Ω" (U+03A9) at position 0 is not in the vocabulary; remove it',
    "load()": "source is undefined; it must be a URL, or {model, weights}",
    "load({model: read(), weights: 'x'})": 'weights is "x"; it must be an ArrayBuffer or a Uint8Array',
    "load(url, {kernel: 'x'})": 'kernel is "x"; it must be "simd" or "scalar"',
    "load(url, {signal: 5})": "signal is 5; it must be an AbortSignal",
}

STATES = {
    "state.network = {}": "state.network.layers is undefined; it must be an array",
    "state.network.layers.push([])": "state.network.layers.length is 2; it must be 1",
    "state.network.layers[0][0][2] = NaN": "state.network.layers.0.0 is [object Float32Array]; it must be a "
    "Float32Array of 6 finite numbers, as structuredClone copies it and JSON does not",
    "Object.assign(state, JSON.parse(JSON.stringify(state)))": "state.network.layers.0.0 is [object Object]",
    "state.network.context = 1.5": "state.network.context is 1.5; it must be a whole number from 0 to 0",
    "state.step = NaN": "state.step is NaN; it must be a whole number from 0",
    "state.tail = [999]": "state.tail.0 is 999; it must be a whole number from 0 to 29",
    "state.tail = []": "state.tail.length is 0; it must be a whole number from 1",
    "state.unread = -1": "state.unread is -1; it must be a whole number from 0",
    "state.unread = 99": "state.unread is 99; it must be a whole number from 0 to 4",
    "state.seen = [999]": "state.seen.0 is 999",
    "state.seed = 'x'": "state.seed is x",
    "state.model = 'other'": 'state.model is "other"; it must be that of this model',
}

MODELS = {
    "model.host.starts = [[999, 1]]": "model.host.starts.0.0 is 999",
    "model.host.forbidden_ids = model.host.texts.map((_, id) => id)": "model.host.forbidden_ids.length is 30",
    "model.host.texts.pop()": "model.host.texts.length is 29; it must be 30",
    "model.vocab_size = 1e9": "model.vocab_size is 1000000000",
    "model.units = [1e9, 1]": "layers.0.bias is 2,18, not 2,3000000000",
    "model.units = []": 'model.cell is "gru"; it must be null',
    "model.cell = 'lstm'": "layers.0.bias is 2,18, not 24",
    "model.sampler = 'warp'": "must end in a selector",
}


def assert_refused(found, expected):
    for (expression, message), result in zip(expected.items(), found, strict=True):
        assert result.get("isOurs"), (expression, result)
        assert message in result["error"], (expression, result)
        assert "\n" not in result["error"]


def test_wrong_options(exported):
    _, folder = exported()
    assert_refused(evaluate(folder, [*OPTIONS]), OPTIONS)


def test_null_is_as_good_as_nothing(exported):
    _, folder = exported()
    plain, null, nothing = evaluate(
        folder,
        ["written({seed: 1})", "written({seed: 1, label: null, topK: null, stop: null, state: null})", "written(null)"],
    )
    assert plain == null
    assert nothing["value"]["finishReason"] == "length"


def test_wrong_states(exported):
    _, folder = exported()
    expected = {f"after(state => {change})": message for change, message in STATES.items()}
    assert_refused(evaluate(folder, [*expected]), expected)
    (right,) = evaluate(folder, ["after(state => state)"])
    assert len(right["value"]) == 3


def test_a_state_of_another_context(exported):
    _, folder = exported(contexts=40)
    expected = {
        f"after(state => {{ state.network.context = {value}; }})": "state.network.context is"
        for value in ("99999999", "-1", "1.5", "NaN", "'x'")
    }
    assert_refused(evaluate(folder, [*expected]), expected)


def test_a_text_that_was_cancelled_goes_on_after_what_was_held_back(exported):
    """A stop text may have begun long before; what is written after all is what would have been written at once."""
    _, folder = exported()
    program = """(async () => {
        const options = {prompt: 'The ', seed: 5, ignoreEos: true, length: 300}, whole = await written(options);
        let turns = 0;
        const signal = {throwIfAborted() {}, get aborted() { return ++turns > 100; }};
        const begun = await written({...options, signal, stop: `${whole.text.slice(1, 250)}\\ue000`});
        const rest = await written({state: structuredClone(begun.state), length: 300 - [...begun.text].length});
        return {...begun, rest: rest.text, whole: whole.text};
    })()"""
    value = evaluate(folder, [program])[0]["value"]
    assert (value["finishReason"], value["text"]) == ("cancelled", value["whole"][:1])
    assert value["state"]["unread"] == 99
    assert value["text"] + value["rest"] == value["whole"]


def test_damaged_models(exported):
    _, folder = exported()
    model = json.loads((folder / "model.json").read_text())
    used = [f"model.{name}" for name in model] + [f"model.host.{name}" for name in model["host"]]
    used.remove("model.host.is_characters")  # of other hosts
    for name in used:
        MODELS.update({f"delete {name}": "", f"{name} = {{}}": "", f"{name} = 0.5": ""})
    expected = {f"changed(model => {{ {change}; }})": message for change, message in MODELS.items()}
    found = evaluate(folder, [*expected])
    assert_refused(found, expected)
    assert all("export the run again" in each["error"] for each in found)


@pytest.mark.parametrize("alone", [False, True])
def test_damaged_weights(exported, tmp_path, alone):
    """Bits that are turned are noticed, and so are bytes too many, these even where no sum can be computed."""
    if alone:
        api.train(
            text="The quick fox\n" * 9, model="ngram", out=tmp_path / "run", settings={"training": {"sample_every": 0}}
        )
        folder = api.export(tmp_path / "run", to="web", notice=pytest.fail).folder
    else:
        _, folder = exported()
    expected = {f"changed(model => model, flipped({place}))": "model.safetensors is damaged" for place in (1, 5, 90)}
    long = "changed(model => model, Buffer.concat([bytes, Buffer.alloc(8)]))"
    expected[long] = "model.safetensors is damaged"
    assert_refused(evaluate(folder, [*expected]), expected)
    _, unsummed, whole = evaluate(
        folder,
        [
            "delete globalThis.crypto && null",
            long,
            "written({prompt: 'T', length: 3}, await load({model: read(), weights: bytes}))",
        ],
    )
    assert "bytes instead of" in unsummed["error"]
    assert len(whole["value"]["text"]) == 3


def test_a_signal_that_is_aborted_ends_every_call(exported):
    _, folder = exported()
    signal = "{signal: AbortSignal.abort(new Error('enough'))}"
    calls = [f"generator.{name}('', {signal})" for name in ("probabilities", "score", "activations")]
    calls += [f"written({{prompt: 'The ', ...{signal}}})", f"written({{prompt: '', ...{signal}}})"]
    calls += [f"load(url, {signal})", f"load({{model: read(), weights}}, {signal})"]
    assert [each.get("error") for each in evaluate(folder, calls)] == ["enough"] * len(calls)


def test_an_unknown_id_is_asked_for_only_where_one_is_needed(exported, node):
    run, folder = exported()
    wish = {"prompt": "The ", "on_unknown": "unk", "seed": 3, "length": 20}
    (done,) = node([{"folder": str(folder), "requests": [in_javascript(wish)]}])
    assert_same_texts(api.load(run, runtime="numpy"), done["results"], [wish])


NUMBERS = [
    "1_0",
    "1__0",
    "_1",
    "1_",
    "1_0.5",
    "1e1",
    "1E1",
    "0x1",
    "0b1",
    "1n",
    "+2",
    "02",
    "2.0",
    "2.",
    ".5",
    "",
    "-0",
    "inf",
    "nan",
]


@settings(max_examples=1, deadline=None, database=None)
@given(numbers=st.lists(st.text("0123456789_.e+-x", min_size=1, max_size=6), min_size=200, max_size=200))
def test_numbers_of_chains_are_those_of_textgen(exported, numbers):
    run, folder = exported()
    generator = api.load(run, runtime="numpy")
    chains = [f"{name}({each}) | multinomial" for each in [*NUMBERS, *numbers] for name in ("temperature", "top-k")]
    found = evaluate(folder, [f"written({{sampler: {json.dumps(chain)}, length: 6, seed: 1}})" for chain in chains])
    for chain, result in zip(chains, found, strict=True):
        try:
            expected = generator.generate("", sampler=chain, length=6, seed=1)
        except OptionError:
            expected = None
        assert result.get("value", {}).get("text") == expected, (chain, result)
