"""The page of an export in a real browser: in one file, opened from disk, and in a folder, on a static host."""

import base64
import functools
import http.server
import platform
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen
from tests.browser import Tab, bars, finish, launch, open_browser, paste, serious_findings, texts
from tests.conftest import ROOT

RECORDED = ROOT / "tests" / "recorded"

#: The most that one file may have besides 1.1 times its weights in base64.
MOST_BYTES = 80_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded runs, each in one file, such as ``gru-names.html``, and in a folder, such as ``gru-names``."""
    out = tmp_path_factory.mktemp("pages")
    for name in ("gru-names", "lstm-trees"):
        for single in (False, True):
            to = out / (f"{name}.html" if single else name)
            report = textgen.export(RECORDED / name, to="web", out=to, options={"single": single})
            assert report.folder == (out if single else to)
    return out


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a folder on a static host."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def host(files: Path) -> Iterator[str]:
    with serving(files) as address:
        yield address


@pytest.fixture
def trees(browser, files) -> Iterator[Tab]:
    """The LSTM in one file."""
    tab = Tab(browser, (files / "lstm-trees.html").as_uri())
    yield tab
    tab.close()


def written(run: str, prompt: str | None, **options: Any) -> list[str]:
    """The texts of ``textgen sample``, prompts included."""
    generator = textgen.load(RECORDED / run, runtime="numpy")
    return [each.prompt + each.text for each in generator.sample(generator.request(prompt, **options))]


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("run", ["gru-names", "lstm-trees"])
def test_texts_are_those_of_textgen_sample(browser, files, host, run, single):
    tab = Tab(browser, (files / f"{run}.html").as_uri() if single else f"{host}{run}/")
    seed = 2**64 - 1
    page = tab.open(f"#texts=3&seed={seed}&prompt=")
    page.click("#write")
    finish(page)
    assert texts(page) == written(run, "", num=3, seed=seed, length=int(page.input_value("#length")))
    page.click("#more summary")
    values = {"prompt": "the", "temperature": "1.3", "top-k": "9", "top-p": "0.95", "min-p": "0.01", "length": "90"}
    for name, value in (values | {"repetition-penalty": "1.2", "texts-count": "2", "stop-text": "ee"}).items():
        page.fill(f"#{name}", value)
    page.click("#again")
    finish(page)
    numbers = {"temperature": 1.3, "top_k": 9, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.2}
    assert texts(page) == written(run, "the", num=2, seed=seed, length=90, stop=["ee"], **numbers)
    command = (
        "textgen sample {run} --prompt the --num 2 --length 90 --temperature 1.3 --top-k 9 --top-p 0.95 --min-p 0.01 "
        "--repetition-penalty 1.2 --stop ee --seed {seed}"
    )
    assert page.locator("#command").text_content() == command.format(run=run, seed=seed)
    tab.close()


def test_pieces_of_words_and_labels(browser, tmp_path):
    """An n-gram alone, with tokens that are bytes of a character, and texts by label."""
    out = tmp_path / "pieces"
    texts_ = [f"{start} ö 😀 {end}" for start in ("the oak", "an elm") for end in ("stands", "fell", "日本")] * 20
    textgen.train(
        text=texts_,
        labels=["tree", "wood", "wood"] * 40,
        model="ngram",
        tokenizer="byte-bpe",
        settings={"tokenizer": {"vocab_size": 290}, "training": {"drop_duplicates": False}},
        out=out,
    )
    report = textgen.export(out, to="web", options={"single": True})
    tab = Tab(browser, (report.folder / report.files[0]).as_uri())
    page = tab.open("#texts=2&seed=3&prompt=an+elm&label=wood")
    page.locator("#surprise [role=option]").first.wait_for()
    assert page.is_hidden("#state")  # there is no network
    page.click("#write")
    finish(page)
    generator = textgen.load(out, runtime="numpy")
    request = generator.request("an elm", num=2, seed=3, length=int(page.input_value("#length")), label="wood")
    assert texts(page) == [each.prompt + each.text for each in generator.sample(request)]
    page.select_option("#label", "")
    page.click("#write")
    finish(page)
    drawn = generator.sample(generator.request("an elm", num=2, seed=3, length=int(page.input_value("#length"))))
    ends = {"eos": "end", "length": "length"}
    told = [f"{ends[each.finish_reason]}, label {each.label}" for each in drawn]
    assert page.locator(".end").all_inner_texts() == told
    assert page.is_hidden("[role=alert]")
    tab.close()


def test_the_file_is_small_and_asks_nobody(trees, files):
    weights = (files / "lstm-trees" / "model.safetensors").read_bytes()
    assert (files / "lstm-trees.html").stat().st_size <= 1.1 * len(base64.b64encode(weights)) + MOST_BYTES
    page = trees.open()
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/]{43}=' 'wasm-unsafe-eval'; worker-src data:; "
        r"style-src 'sha256-[\w+/]{43}='; connect-src 'none'; img-src data:; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert page.evaluate("performance.getEntriesByType('resource').map(({name}) => name.split(':')[0])") == []
    assert page.title() == "lstm-trees – textgen"


def test_it_checks_itself_and_shows_the_card(trees, files):
    page = trees.open()
    page.locator("#check", has_text=re.compile(r"^Checked in this browser: (\d+) of \1 test cases")).wait_for()
    page.click("#card summary")
    card = page.inner_text("#card")
    assert "WebAssembly" in card
    manifest = textgen.load(RECORDED / "lstm-trees", runtime="numpy").artifact.manifest
    assert manifest.provenance["licence"] in card
    assert f"{manifest.metrics['held_out_loss']:.4f}" in card


def test_an_engine_that_computes_something_else_says_so(browser, files, tmp_path):
    wrong = shutil.copytree(files / "lstm-trees", tmp_path / "wrong")
    script = wrong / "textgen.js"
    text = script.read_text()
    script.write_text(text.replace("h[j] = f[output + j]", "h[j] = 0.9 * f[output + j]"))
    with serving(wrong) as address:
        tab = Tab(browser, address)
        page = tab.open()
        page.locator("[role=alert]", has_text="This browser does not compute what textgen computes").wait_for()
        page.locator("#check", has_text="texts may differ").wait_for()
        tab.close()


def test_without_simd(browser, files):
    """V8 has no SIMD without SSE 4.1; processors other than x86-64 have no such flag."""
    plain = launch(browser.browser_type, "--js-flags=--no-enable-sse4-1")
    tab = Tab(plain, (files / "lstm-trees.html").as_uri())
    page = tab.open("#prompt=a&length=60&seed=1")
    page.click("#write")
    finish(page)
    assert texts(page) == written("lstm-trees", "a", length=60, seed=1)
    page.click("#card summary")
    if platform.machine() in ("x86_64", "AMD64"):
        assert "JavaScript alone, which is slow" in page.inner_text("#facts")
    tab.close()
    plain.close()


@pytest.mark.parametrize("part", ["model", "weights"])
def test_a_damaged_page(browser, files, tmp_path, part):
    page = (files / "gru-names.html").read_text()
    place = page.index(f'id="packed-{part}">') + 200
    changed = tmp_path / "damaged.html"
    changed.write_text(page[:place] + ("A" if page[place] != "A" else "B") + page[place + 1 :])
    tab = Tab(browser, changed.as_uri())
    tab.page.goto(tab.url)
    tab.page.locator("[role=alert]", has_text="The model inside this page is damaged.").wait_for()
    tab.close()


def test_a_damaged_folder(browser, files, tmp_path):
    """Weights without their end, as after a download that broke."""
    damaged = shutil.copytree(files / "gru-names", tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with serving(damaged) as address:
        tab = Tab(browser, address)
        tab.page.goto(tab.url)
        tab.page.locator("[role=alert]", has_text="model.safetensors is damaged").wait_for()
        tab.close()


def test_bars_and_surprise_are_those_of_the_model(trees):
    generator = textgen.load(RECORDED / "lstm-trees", runtime="numpy")
    ids = generator.tokenizer.encode("the oak", None)
    logits = generator.runtime.forward(ids[None], generator.runtime.initial_state(1))[0][0].astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    page = trees.open("#prompt=the+oak&temperature=1")
    bits = -np.log2([shares[i, following] for i, following in enumerate(ids[1:])])
    page.locator("#bits", has_text=f"{bits.mean():.2f} bits per character").wait_for()
    levels = page.locator("#surprise [role=option]").evaluate_all("all => all.map(e => Number(e.dataset.level))")
    assert levels == [0, *(sum(each >= level for level in (1, 2, 4, 6, 8)) for each in bits)]
    last = shares[-1].copy()
    last[list(generator.boundaries.forbidden_ids(generator.tokenizer))] = 0
    last = np.sort(last / last.sum())[::-1]
    assert [share for _, share, _ in bars(page)] == pytest.approx(last[:12], abs=1e-5)
    best = page.locator("#bars .mark").first.inner_text()
    page.click("#bars li:first-child button")
    assert page.input_value("#prompt") == "the oak" + {"space": " ", "line end": "\n"}.get(best, best)


def test_the_map_shows_the_state(trees):
    """Layer by layer, in colours and in numbers; by pointer and by keyboard."""
    generator = textgen.load(RECORDED / "lstm-trees", runtime="numpy")
    ids, state, found = generator.tokenizer.encode("the oak", None), generator.runtime.initial_state(1), []
    for each in ids:
        state = generator.runtime.prefill(np.array([[each]], np.int32), state)
        found.append({name: np.array(array[0]) for name, array in state.items()})
    page = trees.open("#prompt=the+oak")
    page.locator("#heat").wait_for()
    assert page.locator("#layer option").all_inner_texts() == ["1", "2"]
    for layer in (0, 1):
        page.select_option("#layer", label=str(layer + 1))
        values = np.array([each[f"{layer}.h"] for each in found]).T
        pixels = page.evaluate(
            """() => {
                const context = new OffscreenCanvas(7, 6).getContext('2d', {willReadFrequently: true});
                context.drawImage(document.getElementById('heat'), 0, 0);
                return [...context.getImageData(0, 0, 7, 6).data];
            }"""
        )
        shown = np.reshape(pixels, (6, 7, 4))
        zero, low, high = np.array([255, 255, 255]), np.array([47, 102, 196]), np.array([196, 68, 47])
        share = np.abs(values)[..., None]
        expected = zero + share * (np.where(values[..., None] < 0, low, high) - zero)
        np.testing.assert_allclose(shown[..., :3], expected, atol=1)
        page.locator("#heat").hover(position={"x": 40 * 3 + 5, "y": 48 * 2 + 5})
        assert page.inner_text("#heat-at") == f"Unit 3 after space: {values[2, 3]:.3f}"
        page.focus("#heat")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert page.inner_text("#heat-at") == f"Unit 4 after “o”: {values[3, 4]:.3f}"


def test_stop_in_mid_stream(trees):
    page = trees.open("#prompt=a&length=100000&texts=2")
    page.click("#write")
    page.locator(".body >> nth=1", has_text=re.compile(".{100}", re.DOTALL)).wait_for()
    page.click("#stop")
    finish(page)
    assert page.locator(".end").all_inner_texts() == ["stopped", "stopped"]
    assert all(100 < len(text) < 100_000 for text in texts(page))


def test_an_unknown_character(trees):
    page = trees.open()
    page.fill("#prompt", "é")
    page.locator("[role=alert]", has_text="is not in the vocabulary. Remove it from the prompt.").wait_for()
    page.fill("#prompt", "e")
    page.locator("#next-title", has_text="after “e”").wait_for()
    assert page.is_hidden("[role=alert]")


def test_unknown_characters_that_the_model_has_an_id_for(browser, files):
    tab = Tab(browser, (files / "gru-names.html").as_uri())
    page = tab.open("#model=gru-trees&prompt=it's 7 7 É")
    told = "Not known to the model, and read as “unknown”: “'”, space (3 times), “7” (2 times), “É”."
    page.locator("#unknown", has_text=told).wait_for()
    assert "model “gru-trees”" in page.inner_text("[role=alert]")  # whose link it was
    prompt = "it's 7 7 É" * 500  # too long to be scored
    paste(page, prompt)
    page.locator("#unknown").wait_for(state="hidden")
    page.click("#write")
    finish(page)
    counts = "“'” (500 times), space (1,500 times), “7” (1,000 times), “É” (500 times)."
    assert page.inner_text("#unknown").endswith(counts)
    tab.close()


def test_a_prompt_of_5_mb(trees):
    """The page works while it is read, and it can be stopped."""
    page = trees.open("#length=50&seed=1")
    prompt = ("the oak stands while the willow weeps" * 30 + "\n") * 4500
    paste(page, prompt)
    page.click("#write")
    assert page.inner_text("#status") == "Writing …"
    page.click("#stop")
    finish(page)
    assert page.inner_text(".end") == "stopped"
    paste(page, "a")
    page.click("#again")
    finish(page)
    assert texts(page) == written("lstm-trees", "a", length=50, seed=1)


def test_a_prompt_of_many_lines(trees):
    """Its direction is found without Chromium's ``dir=auto``, whose time grows with the square of the lines."""
    page = trees.open()
    paste = """text => {
        const began = performance.now(), prompt = document.getElementById('prompt');
        prompt.value = text;
        prompt.dispatchEvent(new Event('input', {bubbles: true}));
        return [performance.now() - began, prompt.dir];
    }"""
    milliseconds, direction = page.evaluate(paste, "1 \u05d0\n" * 20_000)
    assert direction == "rtl"
    assert milliseconds < 1500  # with dir=auto, 3 s and more


def test_the_command_names_a_chain_that_is_not_the_runs(browser, command_line, tmp_path):
    chain = "repetition-penalty(1.4) | temperature(0.7) | top-k(5) | multinomial"
    out = tmp_path / "own.html"
    textgen.export(RECORDED / "lstm-trees", to="web", out=out, sampler=chain, options={"single": True})
    tab = Tab(browser, out.as_uri())
    page = tab.open("#prompt=the&length=60&seed=5")
    for temperature, written_chain in ((None, chain), ("1.25", chain.replace("0.7", "1.25"))):
        if temperature:
            page.fill("#temperature", temperature)
        page.click("#write")
        finish(page)
        line = page.locator("#command").text_content()
        assert f"--sampler '{written_chain}'" in line
        words = shlex.split(line)[1:]
        words[words.index("lstm-trees")] = str(RECORDED / "lstm-trees")
        code, printed, _ = command_line(*words)
        assert (code, printed) == (0, texts(page)[0] + "\n")
    tab.close()


def test_no_command_has_nul(trees):
    page = trees.open()
    paste(page, "a\0b")
    assert "none can carry the character NUL" in page.inner_text("#command-help")
    assert [page.is_hidden(name) for name in ("#command", "#copy-command")] == [True, True]
    paste(page, "ab")
    assert [page.is_hidden(name) for name in ("#command", "#copy-command")] == [False, False]


def test_bad_settings_in_the_address(trees):
    page = trees.open()
    own = [page.input_value(name) for name in ("#length", "#temperature")]
    page = trees.open("#length=-4&temperature=-1")
    for wrong in ("temperature “-1”", "length “-4”"):
        assert wrong in page.inner_text("[role=alert]")
    assert [page.input_value(name) for name in ("#length", "#temperature")] == own


def test_a_folder_on_a_disk_says_what_it_needs(browser, files):
    page = browser.new_page()
    page.goto((files / "gru-names" / "index.html").as_uri())
    about = page.inner_text("#about")
    assert "Serve its folder" in about
    assert "textgen export --to web --single RUN" in about
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_for_everyone(browser, files, scheme):
    """axe-core, a narrow phone, and the keyboard alone, with all that this page has more than that of a server."""
    tab = Tab(
        browser, (files / "lstm-trees.html").as_uri(), color_scheme=scheme, viewport={"width": 360, "height": 700}
    )
    page = tab.open("#prompt=" + "the+oak+stands+" * 20)
    page.locator("#heat").wait_for()
    page.click("#card summary")
    page.focus("#prompt")
    page.keyboard.press("Control+Enter")
    finish(page)
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"surprise", "layer", "heat", "again", "copy-link"} <= reached
    tab.close()
