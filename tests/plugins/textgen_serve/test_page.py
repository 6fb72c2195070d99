"""The page in a real browser: over a server that answers as it is told, and over the real one."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import copy
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import textgen
from tests.conftest import ROOT

api = pytest.importorskip("playwright.sync_api", reason="needs playwright, from PyPI")
from tests.browser import Tab, bars, finish, open_browser, paste, serious_findings, stop_the_clock, texts  # noqa: E402
from tests.plugins.textgen_serve.fake_server import BREAK, WAIT, FakeServer, model, running  # noqa: E402

RECORDED = ROOT / "tests" / "recorded"

#: The least contrast of text, and of what shows where a control is (WCAG 2.2, AA: 1.4.3 and 1.4.11).
TEXT_CONTRAST, CONTROL_CONTRAST = 4.5, 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with running(FakeServer()) as fake:
        yield fake


@pytest.fixture
def tab(browser, fake) -> Iterator[Tab]:
    tab = Tab(browser, fake.url)
    yield tab
    tab.close()


# Texts


def test_a_text_is_shown_while_it_is_written(tab, fake):
    fake.stream = [(0, "be"), WAIT, (0, "gin"), (0, "stop", None)]
    page = tab.open()
    page.fill("#prompt", "a")
    page.click("#write")
    page.locator(".body", has_text="abe").wait_for()
    assert page.inner_text("#status") == "Writing …"
    assert page.is_enabled("#stop")
    fake.go.set()
    finish(page)
    assert texts(page) == ["abegin"]
    assert page.inner_text(".end") == "end"
    assert re.fullmatch(r"Seed \d+\. 5 characters in \d+\.\d seconds\.", page.inner_text("#status"))


def test_what_is_asked_for_is_what_the_controls_say(tab, fake):
    page = tab.open()
    page.click("#more summary")
    values = {"prompt": "x", "temperature": "0.25", "top-k": "3", "top-p": "0.5", "min-p": "0.1", "length": "7"}
    for name, value in values.items() | {"repetition-penalty": "1.5", "texts-count": "2", "seed": "11"}.items():
        page.fill(f"#{name}", value)
    page.fill("#stop-text", r"a\nb\\n")
    fake.stream = [(1, "z"), (0, "y"), (0, "length", None), (1, "stop", "a\nb\\n")]
    page.click("#write")
    finish(page)
    assert fake.written[-1] == {
        "model": "fake", "prompt": "x", "n": 2, "max_tokens": 7, "temperature": 0.25, "top_k": 3, "top_p": 0.5,
        "min_p": 0.1, "repetition_penalty": 1.5, "stop": "a\nb\\n", "seed": 11, "stream": True,
    }  # fmt: skip
    assert texts(page) == ["xy", "xz"]
    assert page.locator(".end").all_inner_texts() == ["length", "stop text"]


@pytest.mark.parametrize(
    ("chain", "shown", "changes", "asked"),
    [
        # The run's own numbers are left to the run, but for a temperature, which is always said.
        ("temperature(0.8) | top-k(2) | multinomial", {"top-k": "2", "top-p": "1"}, {}, {"temperature": 0.8}),
        # To switch a sampler of the run's own chain off, it gets the number with which it changes nothing.
        (
            "temperature(0.8) | top-k(2) | top-p(p=0.5) | multinomial",
            {"top-p": "0.5"},
            {"top-k": "", "top-p": "1"},
            {"temperature": 0.8, "top_k": 4, "top_p": 1},
        ),
        # A temperature would turn greedy into multinomial.
        ("greedy", {"temperature": "0"}, {"top-k": "1"}, {"top_k": 1}),
        ("multinomial", {"temperature": "1"}, {"temperature": "1.5"}, {"temperature": 1.5}),
    ],
)
def test_settings_begin_with_those_of_the_run(tab, fake, chain, shown, changes, asked):
    fake.models = [model("fake", chain=chain)]
    page = tab.open()
    assert {name: page.input_value(f"#{name}") for name in shown} == shown
    for name, value in changes.items():
        page.fill(f"#{name}", value)
    page.click("#write")
    finish(page)
    body = fake.written[-1]
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    assert {name: body[name] for name in names if name in body} == asked


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_stop_ends_the_request_and_keeps_the_text(tab, fake, way):
    fake.stream = [(0, "abc"), WAIT]
    page = tab.open()
    page.click("#write")
    page.locator(".body", has_text="abc").wait_for()
    if way == "button":
        page.click("#stop")
    else:
        page.focus("#prompt")
        page.keyboard.press("Escape")
    finish(page)
    assert fake.left.wait(5)
    assert texts(page) == ["abc"]
    assert page.inner_text(".end") == "stopped"
    assert page.is_hidden("#error")
    assert page.evaluate("document.activeElement.id") == ("write" if way == "button" else "prompt")


def test_write_while_writing_begins_anew(tab, fake):
    fake.stream = [(0, "abc"), WAIT, (0, "length", None)]
    page = tab.open()
    page.click("#write")
    page.locator(".body", has_text="abc").wait_for()
    fake.stream = [(0, "x"), (0, "length", None)]
    page.click("#write")
    finish(page)
    assert fake.left.wait(5)
    assert texts(page) == ["x"]


def test_seeds(tab, fake):
    def seed() -> int:
        page.locator("#status", has_text="Seed").wait_for()
        finish(page)
        return int(fake.written[-1]["seed"])

    fake.stream = [(0, "a"), (0, "length", None)]
    page = tab.open()
    announced = int(page.inner_text("#command").rpartition("--seed ")[2])
    page.click("#write")
    first = seed()
    assert first == announced  # what the command line said before the text was written
    page.click("#again")
    assert seed() == first
    page.click("#write")
    second = seed()
    assert second != first
    page.fill("#seed", "5")
    page.click("#write")
    assert seed() == 5
    page.click("#write")
    assert seed() == 5
    page.click("#new-seed")
    assert page.input_value("#seed") == ""
    page.click("#write")
    assert seed() not in (first, second, 5)


def test_a_long_text_is_scrolled_along(tab, fake):
    fake.stream = [*((0, f"line {n}\n") for n in range(300)), (0, "length", None)]
    page = tab.open()
    page.click("#write")
    finish(page)
    assert texts(page) == ["".join(f"line {n}\n" for n in range(300))]
    assert page.evaluate("(b => b.scrollHeight - b.scrollTop - b.clientHeight)(document.querySelector('.body'))") < 5


def test_copy_and_use_as_prompt(tab, fake):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fake.stream = [(0, "bc\n"), (0, "length", None)]
    page = tab.open()
    page.fill("#prompt", "a")
    page.click("#write")
    finish(page)
    page.click("text=Copy >> nth=0")
    page.locator("#status", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "abc\n"
    stop_the_clock(page)
    page.click("#copy-command")
    page.locator("#copy-command", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").text_content()
    page.click("text=Use as prompt")
    assert page.input_value("#prompt") == "abc\n"


def test_a_link_carries_all_settings(tab, fake, browser):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fake.models = [model("one"), model("two", labels=["x", "y"])]
    page = tab.open()
    page.select_option("#model", "two")
    page.click("#more summary")
    values = {"prompt": "a b&c\n#d", "temperature": "0.35", "top-k": "3", "top-p": "0.7", "min-p": "0.05"}
    values |= {"repetition-penalty": "1.2", "length": "12", "texts-count": "3", "stop-text": r"\n"}
    for name, value in values.items():
        page.fill(f"#{name}", value)
    page.select_option("#label", "y")
    page.click("#write")
    finish(page)
    seed = str(fake.written[-1]["seed"])
    stop_the_clock(page)
    page.click("#copy-link")
    page.locator("#copy-link", has_text="Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    command = page.locator("#command").text_content()

    other = Tab(browser, fake.url)
    page = other.open(link.removeprefix(fake.url))
    for name, value in (values | {"model": "two", "label": "y", "seed": seed}).items():
        assert page.input_value(f"#{name}") == value, name
    assert page.locator("#command").text_content() == command
    assert page.is_visible("#min-p")
    page.click("#reset")
    assert page.input_value("#temperature") == "0.8"
    page.goto(link.replace("temperature=0.35", "temperature=0.45"))  # a link that is pasted over another
    page.locator("#command", has_text="--temperature 0.45").wait_for()
    # The page sets the address itself a moment after a change, at times between a new link and its event.
    page.evaluate("location.hash = '#temperature=0.55'; history.replaceState(null, '', '#temperature=0.45')")
    page.locator("#command", has_text="--temperature 0.55").wait_for()
    other.close()


def test_several_models(tab, fake):
    fake.models = [model("one"), model("two", chain="temperature(0.3) | multinomial", default_length=99, prompt="own")]
    page = tab.open()
    page.select_option("#model", "two")
    assert [page.input_value(name) for name in ("#temperature", "#length", "#prompt")] == ["0.3", "99", "own"]
    page.locator("#next-title", has_text="own").wait_for()
    page.click("#write")
    finish(page)
    assert {body["model"] for body in fake.written[-2:]} == {"two"}
    assert fake.bodies("/next")[-1]["model"] == "two"
    page.fill("#seed", "5")
    page.fill("#texts-count", "3")
    page.select_option("#model", "one")
    assert [page.input_value(name) for name in ("#temperature", "#seed", "#texts-count")] == ["0.8", "5", "3"]
    page.click("#reset")
    assert [page.input_value(name) for name in ("#seed", "#texts-count")] == ["", "1"]


def test_a_model_by_another_name_than_its_folder(tab, fake):
    fake.models = [model("plain2", run="plain", cell="ngram", units=[])]
    page = tab.open()
    assert page.locator("#command").text_content().startswith("textgen sample plain --")
    assert page.inner_text("#about") == "plain2: n-gram, vocabulary of 4, fp32"
    page.click("#card summary")
    assert page.locator("dd").first.inner_text() == "n-gram"


def test_a_link_to_what_is_not_here(tab, fake):
    """Of what it asks for, the page takes the rest, and says so until there is a better link."""
    fake.models = [model("one"), model("two", labels=["x"])]
    page = tab.open("#model=nope&label=x&texts=99&top-k=3&length=1.5&seed=18446744073709551616")
    alert = page.locator("[role=alert]")
    listed = "model “nope”, label “x”, length “1.5”, texts “99”, seed “18446744073709551616”"
    expected = f"The link asks for what this page does not have: {listed}. It shows its own choice instead."
    assert alert.inner_text() == expected
    values = {"model": "one", "top-k": "3", "texts-count": "1", "length": "30", "seed": ""}
    assert {name: page.input_value(f"#{name}") for name in values} == values
    page.locator("#next-title", has_text="A text begins with").wait_for()
    assert alert.is_visible()
    page.goto(fake.url + "#model=two&label=x")
    page.locator("#command", has_text="--label x").wait_for()
    assert alert.is_hidden()


def test_labels(tab, fake):
    fake.models = [model("fake", labels=["for", "against"])]
    page = tab.open()
    assert page.locator("#label option").all_inner_texts() == ["any", "for", "against"]
    page.select_option("#label", "against")
    page.click("#write")
    finish(page)
    assert fake.written[-1]["label"] == "against"
    assert "--label against" in page.inner_text("#command")


def test_what_the_model_does_not_know(tab, fake):
    """In words, as soon as the prompt is read; a prompt that is too long to be scored, when it is continued."""
    many = [{"character": chr(code), "count": 1, "treatment": "unk"} for code in range(0x3B1, 0x3B1 + 11)]
    skipped = {"\u2019": 1, "7": 2, "\u200b": 1, " ": 3}
    fake.unknown = [{"character": each, "count": n, "treatment": "skip"} for each, n in skipped.items()] + many
    page = tab.open("#prompt=x")
    told = page.locator("#unknown:visible")
    left_out = "Not known to the model, and left out: “\u2019”, “7” (2 times), U+200B, space (3 times)."
    named = ", ".join(f"“{each}”" for each in "αβγδεζηθικ")
    assert told.inner_text() == f"{left_out} Not known to the model, and read as “unknown”: {named} and others."
    assert page.inner_text("#bits") == "No bits per character: the model does not know all of the prompt."
    fake.unknown = []
    page.fill("#prompt", "y")
    page.locator("#unknown").wait_for(state="hidden")
    paste(page, "z" * 5000)
    page.locator("#bits", has_text="Not of prompts").wait_for()
    fake.unknown = [{"character": "z", "count": 5000, "treatment": "skip"}]
    page.click("#write")
    finish(page)
    assert told.inner_text() == "Not known to the model, and left out: “z” (5,000 times)."


# Bars


@pytest.mark.parametrize("way", ["slider", "number"])
def test_bars_change_with_the_settings_without_a_request(tab, fake, way):
    page = tab.open()
    page.fill("#prompt", "a")
    page.locator("#next-title", has_text="after “a”").wait_for()
    asked = len(fake.asked)
    own = np.exp([-0.5, -1.5, -2.5, -3.0])
    for temperature in (0.5, 2):
        page.fill("#temperature-slider" if way == "slider" else "#temperature", str(temperature))
        drawn = own ** (1 / temperature) / (own ** (1 / temperature)).sum()
        assert [share for _, share, _ in bars(page)] == pytest.approx(drawn)
        assert [share for *_, share in bars(page)] == pytest.approx(own)
    page.wait_for_timeout(400)  # longer than the page waits before it asks
    assert len(fake.asked) == asked


def test_a_click_appends_and_the_end_cannot_be_appended(tab, fake):
    page = tab.open()
    assert page.locator("#bars .mark:visible").all_inner_texts() == ["a", "b", "line end", "end"]
    for index in (0, 2):
        page.click(f"#bars li:nth-child({index + 1}) button")
    assert page.input_value("#prompt") == "a\n"
    page.locator("#next-title", has_text="a↵").wait_for()
    assert [body["prompt"] for body in fake.bodies("/next")][-1] == "a\n"
    assert page.is_disabled("#bars li:nth-child(4) button")


def test_bars_say_what_they_leave_out(tab, fake):
    fake.models = [model("fake", chain="repetition-penalty(1.3) | cutoff(3) | temperature(0.5) | multinomial")]
    page = tab.open()
    page.fill("#prompt", "a")
    page.locator("#next-help", has_text="repetition-penalty, cutoff left out").wait_for()
    own = np.exp([-0.5, -1.5, -2.5, -3.0])
    assert [share for _, share, _ in bars(page)] == pytest.approx(own**2 / (own**2).sum())


def test_bits_per_character(tab):
    page = tab.open()
    page.fill("#prompt", "abc")  # e**-1 each, after the first: log2(e) bits
    page.locator("#bits", has_text=f"{1 / np.log(2):.2f} bits per character").wait_for()


def test_surprise_in_colour(tab, fake):
    """Each character by its bits, with its accents; the first one is not predicted. By keyboard and in words, too."""
    fake.scores = {"b": -0.5, "\u0308": -2.5, "c": -4.0, "\n": -6.0}
    page = tab.open()
    page.fill("#prompt", "ab\u0308c\n")
    marks = page.locator("#surprise [role=option]")
    marks.nth(3).wait_for()
    assert marks.all_text_contents() == ["a", "b\u0308", "c", "↵\n"]
    bits = np.array([0, 3.0, 4.0, 6.0]) / np.log(2)
    assert marks.evaluate_all("all => all.map(e => Number(e.dataset.level))") == [
        sum(each >= level for level in (1, 2, 4, 6, 8)) for each in bits
    ]
    page.focus("#surprise")
    said = []
    for key in ("Home", "ArrowRight", "ArrowRight", "End", "ArrowRight"):
        page.keyboard.press(key)
        said.append(page.inner_text("#surprise-at"))
        assert page.get_attribute("#surprise", "aria-activedescendant") == page.get_attribute(
            "[aria-selected=true]", "id"
        )
    names, shares = ["“b\u0308”", "“c”", "line end"], ["5.0 %", "1.8 %", "0.2 %"]  # e**-3, e**-4, e**-6
    predicted = [f"{name}: {share}, {each:.1f} bits" for name, share, each in zip(names, shares, bits[1:], strict=True)]
    assert said == ["“a”: not predicted, since nothing comes before it", *predicted, predicted[-1]]
    page.fill("#prompt", "")
    page.locator("#surprise").wait_for(state="hidden")


def test_text_from_right_to_left(tab, fake):
    fake.next = [("ם", -0.1, False)]
    fake.stream = [(0, "ם"), (0, "length", None)]
    page = tab.open()
    page.fill("#prompt", "שלו")
    page.locator("#surprise [role=option]").nth(2).wait_for()
    page.click("#write")
    finish(page)
    sides = "all => all.map(e => getComputedStyle(e).direction)"
    assert page.locator("#prompt, .body, #surprise").evaluate_all(sides) == ["rtl"] * 3
    assert page.evaluate("getComputedStyle(document.body).direction") == "ltr"
    page.focus("#surprise")
    for key, at in (("ArrowLeft", 0), ("ArrowLeft", 1), ("ArrowRight", 0)):
        page.keyboard.press(key)
        assert page.get_attribute("#surprise", "aria-activedescendant") == f"surprise-{at}"


def test_a_prompt_longer_than_a_link_or_a_command_line(tab, fake):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fake.stream = [(0, "bc"), (0, "length", None)]
    page = tab.open("#prompt=xyz")
    prompt = "a\n" * 15_000
    paste(page, prompt)
    page.locator("#command", has_text="textgen sample fake --prompt-file prompt.txt").wait_for()
    assert "Save the prompt as prompt.txt" in page.inner_text("#command-help")
    page.locator("#bits", has_text="Not of prompts of more than 4,000 characters.").wait_for()
    page.click("#write")
    finish(page)
    assert fake.written[-1]["prompt"] == prompt
    assert len(page.inner_text(".body")) < 10_000
    page.click("text=Copy >> nth=0")
    page.locator("#status", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == prompt + "bc"
    page.click("#copy-link")
    page.locator("#status", has_text="without the prompt: it is too long").wait_for()
    assert "prompt=" not in page.evaluate("navigator.clipboard.readText()") + page.url


chains = st.lists(
    st.sampled_from(
        ["temperature(0)", "temperature(0.3)", "temperature(1.7)", "top-k(1)", "top-k(3)", "top-k(k=5)", "top-p(0.3)",
         "top-p(0.85)", "top-p(1)", "min-p(0)", "min-p(0.2)", "min-p", "top-k", "repetition-penalty(1)"]
    ),
    max_size=4,
)  # fmt: skip


def test_the_page_draws_as_the_samplers_do(tab, names):
    """Chains of any order, and edited ones, give the probabilities that the bundled samplers give."""
    page = tab.open()

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(
        weights=st.lists(st.integers(1, 50), min_size=1, max_size=12),
        links=chains,
        selector=st.sampled_from(["multinomial", "greedy"]),
        edits=st.dictionaries(st.sampled_from(["temperature", "top-k", "top-p", "min-p"]), st.sampled_from([1, 0.5])),
    )
    @example(weights=[5, 5, 5, 5], links=["top-k(2)"], selector="multinomial", edits={})
    def check(weights, links, selector, edits):
        edits = edits | ({"top-k": 2} if "top-k" in edits else {})
        text = " | ".join([*links, selector])
        own = np.log(np.array(sorted(weights, reverse=True)) / sum(weights))
        drawn, edited = page.evaluate(
            """async ([own, text, edits]) => {
                const {draw, editChain, readChain} = await import('/page/sampling.js');
                const links = editChain(readChain(text), edits);
                return [draw(own, links), links.map(({name}) => name)];
            }""",
            [own.tolist(), text, edits],
        )
        generator = copy(names)
        generator.defaults = names.defaults.model_copy(update={"sampler": text})
        options: Any = {name.replace("-", "_"): value for name, value in edits.items()}
        chain = generator.request("a", **options).chains[0]
        logits = own.astype(np.float32)[None]
        for sampler in chain.samplers:
            parameters = {name: np.array([[value]], np.float32) for name, value in sampler.parameters.items()}
            logits = sampler.transform(logits, parameters, np.zeros(logits.shape, bool))
        expected = np.exp(logits[0] - logits.max())
        if chain.names[-1] == "greedy":
            expected = np.arange(len(expected)) == logits[0].argmax()
        assert edited == list(chain.names)
        assert drawn == pytest.approx(expected / expected.sum(), abs=1e-5)

    check()


# The command line


def test_words_are_quoted_for_a_shell(tab):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    page = tab.open()
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.text(st.one_of(st.sampled_from("'\"\\$`!\n\t -a~*"), letters)), min_size=10, max_size=40))
    @example(["", "it's", "a\nb", "-x", "\\n", "'\n'", "é\x7f0", "~", "a'b\tc\\'", "#", "\x010"])
    def check(words):
        quoted = page.evaluate(
            "async words => { const {quote} = await import('/page/command.js'); return words.map(quote); }", words
        )
        printed = subprocess.run([bash, "-c", r"printf '%s\0' " + " ".join(quoted)], capture_output=True, check=True)
        assert printed.stdout.decode().split("\0")[:-1] == words

    check()


# Errors


def test_errors_say_what_to_do(tab, fake):
    page = tab.open()
    alert = page.locator("[role=alert]")

    def refuse(status: int, message: str, code: str | None = None, param: str | None = None, **headers: str) -> None:
        fake.refusal = status, headers, {"message": message, "code": code, "param": param}
        page.click("#write")
        finish(page)

    refuse(400, "top_k must be at least 1; give another")
    assert alert.inner_text() == "Top_k must be at least 1; give another."
    refuse(400, "'é' at position 3 is not in the vocabulary; remove it, or send …", "unknown_character")
    assert alert.inner_text() == "'é' at position 3 is not in the vocabulary. Remove it from the prompt."
    refuse(429, "the queue is full", **{"Retry-After": "7"})
    assert alert.inner_text() == "The server is busy. Try again in 7 seconds."
    refuse(429, "the queue is full", **{"Retry-After": "1"})
    assert alert.inner_text() == "The server is busy. Try again in 1 second."
    refuse(400, "32 texts are asked for, more than 14 at a time", param="n")
    assert alert.inner_text() == "32 texts are asked for, more than 14 at a time. Choose fewer texts."
    refuse(413, "the body has more than 1,000 bytes")
    assert alert.inner_text() == "The prompt is too long for this server. Shorten it."
    assert page.inner_text("#status") == "Nothing was written."
    fake.refusal = None
    fake.stream = [(0, "abc"), {"error": {"message": "the engine failed", "code": None}}]
    page.click("#write")
    alert.filter(has_text="The engine failed.").wait_for()
    assert texts(page) == ["abc"]
    assert "3 characters" in page.inner_text("#status")
    fake.stream = [(0, "abc"), BREAK]
    page.click("#write")
    alert.filter(has_text="broke off").wait_for()
    fake.stream = [(0, "abc"), (0, "length", None)]
    page.click("#write")
    finish(page)
    assert alert.is_hidden()


def test_an_error_stays_until_its_cause_is_gone(tab, fake):
    page = tab.open()
    page.fill("#prompt", "a")
    page.locator("#next-title", has_text="after “a”").wait_for()
    fake.refusal = 429, {}, {}
    page.click("#write")
    finish(page)
    fake.refusal = None
    page.fill("#prompt", "b")
    page.locator("#next-title", has_text="after “b”").wait_for()
    assert page.locator("[role=alert]:visible").all_inner_texts() == ["The server is busy. Try again in a few seconds."]


def test_a_model_that_needs_a_prompt(tab, fake):
    fake.next = []
    page = tab.page
    page.goto(fake.url)
    page.locator("#next-help", has_text="This model needs a prompt.").wait_for()


def test_a_server_that_is_gone(browser):
    with running(FakeServer()) as fake:
        tab = Tab(browser, fake.url)
        page = tab.open()
    page.click("#write")
    page.locator("[role=alert]", has_text="The server does not answer. Check that textgen serve still runs").wait_for()
    tab.close()


def test_values_out_of_range_are_not_sent(tab, fake):
    page = tab.open()
    values = {"temperature": ["-1"], "top-k": ["0"], "top-p": [""], "length": ["0"], "seed": ["1.5", str(2**64)]}
    for name, value in ((name, value) for name, some in values.items() for value in some):
        before = page.input_value(f"#{name}")
        page.fill(f"#{name}", value)
        page.click("#write")
        assert page.evaluate("document.activeElement.id") == name
        page.fill(f"#{name}", before)
    assert not fake.written
    page.fill("#seed", "none")
    page.click("#new-seed")
    page.click("#write")
    finish(page)
    assert len(fake.written) == 1


def test_a_key(browser, fake):
    fake.key = "secret"
    tab = Tab(browser, fake.url)
    page = tab.page
    page.goto(fake.url)
    page.locator("[role=alert]", has_text="The server needs an API key. Enter it below.").wait_for()
    page.keyboard.type("wrong")  # the field has the focus
    page.keyboard.press("Enter")
    page.locator("[role=alert]", has_text="The server does not accept this API key.").wait_for()
    page.fill("#key", "secret")
    page.keyboard.press("Enter")
    page.locator("#bars li:visible").first.wait_for()
    assert page.is_hidden("#key-field")
    assert page.is_hidden("[role=alert]")
    assert "secret" not in page.url + json.dumps(page.evaluate("[{...localStorage}, {...sessionStorage}]"))
    page.click("#write")
    finish(page)
    tab.close()


# For everyone


def test_keyboard_alone(tab, fake):
    page = tab.open()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """(e => e === document.body ? null : [e.id || e.className, getComputedStyle(e).outlineStyle,
                parseFloat(getComputedStyle(e).outlineWidth)])(document.activeElement)"""
        )
        if focused is None:
            break
        name, style, width = focused
        assert (style, width >= 2) == ("solid", True), f"the focus on {name} cannot be seen"
        reached.append(name)
    enabled = ["prompt", "write", "reset", "temperature-slider", "temperature", "top-k-slider", "top-k", "top-p-slider"]
    enabled += ["top-p", "length", "texts-count", "seed", "", *["bar"] * 3, "command", "copy-command", "copy-link", ""]
    assert reached == enabled
    page.focus("#prompt")
    page.keyboard.type("a")
    page.keyboard.press("Control+Enter")
    finish(page)
    assert texts(page) == ["aab"]
    page.focus("#top-k-slider")
    page.keyboard.press("Home")
    assert page.input_value("#top-k") == "1"
    assert page.get_attribute("#top-k-slider", "aria-valuetext") == "1"
    page.keyboard.press("End")
    assert page.input_value("#top-k") == ""
    assert page.get_attribute("#top-k-slider", "aria-valuetext") == "all"
    page.focus("#bars li:first-child button")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.input_value("#prompt") == "aaa"  # the focus stays, so that the likeliest can be taken again and again


def test_every_control_has_a_name(tab, fake):
    fake.models = [model("one", labels=["x"]), model("two")]
    page = tab.open()
    page.click("#more summary")
    page.fill("#texts-count", "2")
    page.click("#write")
    finish(page)
    controls = {"button", "textbox", "slider", "spinbutton", "combobox", "article", "DisclosureTriangle"}
    nodes = tab.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert {"button", "textbox", "slider", "spinbutton", "combobox"} <= {role for role, _ in found}
    assert [role for role, name in found if not name.strip()] == []
    names = [name for _, name in found]
    assert len(set(names)) == len(names), "two controls have the same name"
    live = page.locator("[role=status], [role=alert], [aria-live]").evaluate_all("all => all.map(e => e.id)")
    assert live == ["error", "status"]  # what is written is not read out piece by piece


#: Text, and the edges of controls, with a contrast below the least: luminance as WCAG defines it.
_CONTRAST = """([ofText, ofControls]) => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => (([x, y]) => (y + 0.05) / (x + 0.05))([luminance(a), luminance(b)].sort((x, y) => x - y));
  const low = [];
  let checked = 0;
  for (const e of document.querySelectorAll('body *')) {
    const style = getComputedStyle(e);
    if (!e.checkVisibility() || style.visibility === 'hidden') continue;
    const hasText = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || ('value' in e && e.value !== '');
    if (hasText && ++checked) {
      const found = contrast(channels(style.color), ground(e));
      if (found < ofText) low.push([e.id || e.className || e.tagName, 'text', found]);
    }
    if (e.placeholder && ++checked) {
      const found = contrast(channels(getComputedStyle(e, '::placeholder').color), ground(e));
      if (found < ofText) low.push([e.id, 'placeholder', found]);
    }
    if (e.matches('textarea, select, input:not([type=range])') && ++checked) {
      const found = contrast(channels(style.borderTopColor), ground(e.parentElement));
      if (found < ofControls) low.push([e.id, 'edge', found]);
    }
  }
  return [checked, low];
}"""


def test_axe(tab, fake):
    fake.models = [model("one", labels=["x"], license="CC0"), model("two")]
    page = tab.open()
    page.fill("#prompt", "abc")
    page.locator("#surprise [role=option]").nth(2).wait_for()
    page.click("#more summary")
    page.click("#card summary")
    page.click("#write")
    finish(page)
    assert serious_findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, fake, scheme):
    fake.models = [model("one", labels=["x"]), model("two")]
    fake.stream = [(0, "abc"), {"error": {"message": "the engine failed"}}]
    tab = Tab(browser, fake.url, color_scheme=scheme)
    page = tab.open()
    page.click("#more summary")
    fake.scores = dict(zip("bcdefg", (-0.1, -1, -2, -3.5, -5, -6), strict=True))
    page.fill("#prompt", "abcdefg")
    page.fill("#top-k", "2")
    page.click("#write")
    finish(page)
    page.wait_for_timeout(400)
    assert set(page.locator("#surprise span").evaluate_all("all => all.map(e => e.dataset.level)")) == set("012345")
    checked, low = page.evaluate(_CONTRAST, [TEXT_CONTRAST, CONTROL_CONTRAST])
    assert checked > 50
    assert low == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) > 380) == (scheme == "light")
    tab.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_no_width_scrolls_sideways(browser, fake, width):
    fake.models = [model("a-name-of-a-run-" * 4), model("two", labels=["a label that is long" * 3])]
    fake.next = [("a long token without any space", -0.1, False), ("b", -3.0, False)]
    fake.stream = [(0, "x" * 500), (1, "y z " * 100), (2, "stop", None)]
    tab = Tab(browser, fake.url, viewport={"width": width, "height": 700})
    page = tab.open()
    page.fill("#prompt", "w" * 300)
    page.fill("#texts-count", "3")
    page.click("#more summary")
    page.click("#write")
    finish(page)
    page.locator("#next-title", has_text="ww").wait_for()
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1] == width
    tab.close()


def test_reduced_motion(browser, fake):
    fake.stream = [(0, "abc"), WAIT]
    tab = Tab(browser, fake.url, reduced_motion="reduce")
    page = tab.open()
    page.click("#write")
    page.locator(".body", has_text="abc").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    tab.close()


def test_only_its_own_files(tab):
    page = tab.open()
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert page.evaluate("performance.getEntriesByType('resource').every(({name}) => name.startsWith(location.origin))")


# Over the real server


@pytest.fixture
def real(browser, server) -> Iterator[Tab]:
    tab = Tab(browser, f"{server.url}/")
    yield tab
    tab.close()


def printed(page: Any) -> str:
    """What the command line that the page shows prints, in the folder of the runs."""
    line = page.locator("#command").text_content()
    assert line.startswith("textgen ")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    script = f'textgen() {{ {shlex.quote(sys.executable)} -m textgen "$@"; }}; {line}'
    done = subprocess.run([bash, "-c", script], cwd=RECORDED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "values",
    [
        {"model": "gru-names", "prompt": "", "texts": "3", "seed": "1"},
        {"model": "gru-names", "prompt": "tyr", "temperature": "1.3", "top-k": "9", "min-p": "0.01", "seed": "0007"},
        {"model": "gru-names", "prompt": "ab", "seed": str(2**64 - 1)},
        {"model": "lstm-trees", "prompt": "the\noak, ", "length": "300", "top-p": "0.8", "repetition-penalty": "1.2"},
        {"model": "lstm-trees", "prompt": "; ", "texts": "2", "length": "90", "stop": r"e\n"},
        {"model": "lstm-trees", "prompt": "a", "temperature": "0", "length": "50"},
    ],
)
def test_the_command_line_prints_the_same_text(real, values):
    page = real.open("#" + urlencode(values))
    page.click("#write")
    finish(page)
    found = texts(page)
    assert len(found) == int(values.get("texts", 1))
    assert all(text.startswith(values["prompt"]) for text in found)
    gap = "\n\n" if values["model"] == "lstm-trees" else "\n"  # between texts that can have several lines
    assert printed(page) == gap.join(found) + "\n"
    assert page.is_hidden("[role=alert]")


@pytest.mark.parametrize("run", ["gru-names", "lstm-trees"])
@pytest.mark.parametrize(
    ("temperature", "k", "p", "least"), [(1, 100, 1, 0), (0.4, 100, 1, 0), (1.5, 6, 0.7, 0), (0.9, 100, 0.95, 0.2)]
)
def test_bars_are_the_probabilities_of_the_samplers(real, run, temperature, k, p, least):
    """From the logits of the run, by the formulas of the samplers in their order, in NumPy."""
    generator = textgen.load(RECORDED / run, runtime="numpy")
    ids = generator.tokenizer.encode("tre", None)[None]
    logits = generator.runtime.forward(ids, generator.runtime.initial_state(1))[0][0, -1].astype(np.float64)
    logits[list(generator.boundaries.forbidden_ids(generator.tokenizer))] = -np.inf
    own = np.exp(logits - logits.max())
    own /= own.sum()
    order = np.argsort(-own, kind="stable")
    drawn = own ** (1 / temperature)
    drawn[order[k:]] = 0
    inside = drawn[order].cumsum() - drawn[order]
    drawn[order[inside >= p * drawn.sum()]] = 0
    drawn[drawn < least * drawn.max()] = 0
    drawn /= drawn.sum()

    values = {"model": run, "prompt": "tre", "temperature": temperature, "top-p": p, "min-p": least}
    page = real.open("#" + urlencode(values | {"top-k": k if k < 100 else ""}))
    page.locator("#next-title", has_text="after “tre”").wait_for()
    found = bars(page)
    assert len(found) == 12
    names = {" ": "space", "\n": "line end"}
    texts_of = {i: names.get(text := generator.tokenizer.decode([int(i)]), text) for i in order[:12]}
    if generator.boundaries.end_id in texts_of:
        texts_of[generator.boundaries.end_id] = "end"
    assert [text for text, *_ in found] == list(texts_of.values())
    assert [share for _, share, _ in found] == pytest.approx(drawn[order[:12]], abs=1e-6)
    assert [share for *_, share in found] == pytest.approx(own[order[:12]], abs=1e-6)


def test_how_texts_begin(real, names):
    """Without a prompt: by how often training texts begin so, whatever the settings."""
    page = real.open("#model=gru-names&temperature=0.1")
    starts = names.boundaries.starts
    counts = sorted(starts.values(), reverse=True)[:12]
    expected = pytest.approx([count / sum(starts.values()) for count in counts])
    assert [share for _, share, _ in bars(page)] == expected
    assert page.inner_text("#next-title") == "A text begins with"


def test_bits_are_those_of_the_model(real):
    generator = textgen.load(RECORDED / "lstm-trees", runtime="numpy")
    ids = generator.tokenizer.encode("the oak", None)
    logits = generator.runtime.forward(ids[None], generator.runtime.initial_state(1))[0][0].astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bits = -np.log2([shares[i, following] for i, following in enumerate(ids[1:])]).mean()
    page = real.open("#model=lstm-trees&prompt=the+oak")
    page.locator("#bits", has_text=f"{bits:.2f} bits per character").wait_for()


def test_the_model_card(real, trees):
    page = real.open("#model=lstm-trees")
    page.click("#card summary")
    terms, values = page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts()
    found, manifest = dict(zip(terms, values, strict=True)), trees.artifact.manifest
    assert found["Licence of its text"] == manifest.provenance["licence"]
    bits = manifest.metrics["held_out_loss"] / np.log(2)
    assert found["On text it has not seen"] == f"{bits:.2f} bits per character"


def test_the_server_stops_with_the_page(real, server):
    page = real.open("#model=lstm-trees&prompt=a&length=100000&texts=8")
    page.click("#write")
    page.locator(".body >> nth=7", has_text=re.compile(".{100}", re.DOTALL)).wait_for()
    page.click("#stop")
    finish(page)
    server.wait_for("num_rows_running", 0)
    assert all(len(text) < 100_000 for text in texts(page))
    page.click("#again")
    page.locator(".body >> nth=7", has_text=re.compile(".{100}", re.DOTALL)).wait_for()
    page.goto("about:blank")
    server.wait_for("num_rows_running", 0, seconds=2)


def test_an_unknown_character(real):
    page = real.open("#model=lstm-trees")
    page.fill("#prompt", "é")
    page.locator("[role=alert]", has_text="is not in the vocabulary. Remove it from the prompt.").wait_for()
    page.fill("#prompt", "e")
    page.locator("#next-title", has_text="after “e”").wait_for()
    assert page.is_hidden("[role=alert]")


def test_unknown_characters_that_the_model_has_an_id_for(real, names):
    prompt = "it's 7 7 É"
    (expected,) = names.sample(names.request(prompt, seed=1))
    page = real.open("#" + urlencode({"model": "gru-names", "prompt": prompt}))
    listed = {each.character: each.count for each in expected.unknown}
    assert listed == {"'": 1, " ": 3, "7": 2, "É": 1}
    told = "Not known to the model, and read as “unknown”: “'”, space (3 times), “7” (2 times), “É”."
    page.locator("#unknown", has_text=told).wait_for()
    page.click("#write")
    finish(page)
    assert page.inner_text("#unknown") == told


def test_a_prompt_that_is_too_long(real):
    page = real.open("#model=lstm-trees")
    paste(page, "a" * 70_000)
    told = "The prompt is too long for this server, which takes at most 65,536 characters. Shorten it."
    page.locator("[role=alert]", has_text=told).wait_for()
    page.click("#write")
    finish(page)
    assert page.inner_text("[role=alert]") == told
    assert page.inner_text("#status") == "Nothing was written."
