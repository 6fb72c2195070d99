"""Training in a notebook: a real kernel, and SIGINT as Jupyter sends it."""

import json
import re
from typing import Any
from xml.etree import ElementTree


def html_of(output) -> str:
    return "".join(output["data"]["text/html"])


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def displays(outputs) -> list:
    return [each for each in outputs if each.output_type == "display_data"]


def names_of(messages) -> list[tuple[str, str]]:
    """Of the messages that display something: their kinds and display ids."""
    kinds = ("display_data", "update_display_data")
    return [(m["msg_type"], m["content"]["transient"]["display_id"]) for m in messages if m["msg_type"] in kinds]


def test_one_display_is_updated_in_place_and_small_in_the_saved_file(notebook):
    # 2,000 batches, shown as often as it can be.
    notebook.run("import textgen.notebook.display as shown; shown.LEAST_SECONDS = shown.MOST_SECONDS = 0.005")
    outputs = notebook.run("generator = train(epochs=10)")
    batches = int(found(r"10 epochs of (\d+) batches", displays(outputs)[0]["data"]["text/plain"])) * 10
    assert batches > 2000
    kinds, ids = zip(*names_of(notebook.messages), strict=True)
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    assert len(kinds) > 20
    assert len(set(ids)) == 1
    (output,) = outputs  # nothing else is written
    assert len(json.dumps(output)) < 20_000
    whole = html_of(output)
    drawn = ElementTree.fromstring(found(r"(<svg.*</svg>)", whole))
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines][1] == 10
    assert 80 <= len(lines[0].attrib["points"].split()) <= 160
    assert "done: epoch" in whole
    assert "sample after epoch 10" in whole
    assert "\r" not in whole
    notebook.run("shown.LEAST_SECONDS, shown.MOST_SECONDS = 1.0, 10.0")


def test_updates_are_rare(notebook):
    notebook.run("started = time.monotonic(); train(epochs=10); seconds = time.monotonic() - started")
    updates = len(names_of(notebook.messages))
    seconds = float(notebook.run("print(seconds)")[0].text)
    assert updates <= 3 + seconds


def test_without_a_display_nothing_is_shown(notebook):
    assert notebook.run("quiet = train(display=None)") == []
    assert notebook.run("print(quiet.generate('ab', length=3, seed=1))")[0].text.startswith("ab")


def test_any_other_display_is_refused(notebook):
    (error,) = notebook.run("train(display='bar')")
    assert error.ename == "OptionError"
    assert "display must be a Display, not 'bar'" in error.evalue


def interrupt_when(notebook, shown: str, times: int = 1) -> None:
    """Press the stop button once the display shows something."""
    pressed: list[Any] = []

    def press(message):
        data = message["content"].get("data", {})
        if len(pressed) < times and shown in data.get("text/plain", ""):
            pressed.append(message)
            notebook.interrupt()

    notebook.on_message = press


def test_an_interrupt_saves_stops_the_notebook_and_leaves_a_generator_that_writes(notebook):
    interrupt_when(notebook, " left")
    notebook.run("import textgen.notebook.display as shown; shown.LEAST_SECONDS, Slow.seconds = 0.05, 0.02")
    outputs = notebook.run("for attempt in range(3):\n    run = train()")
    notebook.run("shown.LEAST_SECONDS, Slow.seconds = 1.0, 0")
    error = outputs[-1]
    assert error.output_type == "error"
    assert error.ename == "Interrupted"
    (display,) = displays(outputs)  # the loop has stopped
    assert "everything is saved" in html_of(display)
    folder = found(r"textgen\.train\(resume='([^']+)'\)", error.evalue)
    assert f"textgen train --resume {folder}" in error.evalue
    written = notebook.run("import sys; print(sys.last_value.generator.generate('ab', length=5, seed=1))")
    assert re.fullmatch(r"ab[a-e]{5}\n", written[0].text)
    # The advice works when it is pasted, and what comes of it is what an undisturbed run writes.
    notebook.run(f"resumed = {found(r'(textgen.load.*)', error.evalue)}\nassert resumed.generate('a', seed=1)")
    notebook.run(f"resumed = textgen.train(resume={folder!r})")
    same = "resumed.generate('a', length=50, seed=1) == train(display=None).generate('a', length=50, seed=1)"
    assert notebook.run(f"print({same})")[0].text == "True\n"


def test_a_kernel_is_interrupted_as_before_once_training_has_ended(notebook):
    notebook.run("train(display=None)")
    interrupt_when(notebook, "waiting")
    (_, error) = notebook.run("from IPython.display import display\ndisplay('waiting')\ntime.sleep(30)")
    assert error.ename == "KeyboardInterrupt"


def test_an_error_is_shown_in_the_display_too(notebook):
    breaks = """
from textgen.testing import CountingModel
def fit(self, dataset, run):
    raise OSError("no space")
fitted, CountingModel.fit = CountingModel.fit, fit
try:
    train()
finally:
    CountingModel.fit = fitted
"""
    outputs = notebook.run(breaks)
    assert "ended by OSError" in html_of(displays(outputs)[0])


def test_it_trains_in_a_running_event_loop(notebook):
    cell = """
import asyncio
async def learn():
    return train()
generator = await learn()
assert asyncio.get_running_loop().is_running()
"""
    (output,) = notebook.run(cell)
    assert "done: epoch" in html_of(output)


def test_it_trains_in_a_thread(notebook):
    cell = "import threading; thread = threading.Thread(target=train); thread.start(); thread.join()"
    (output,) = notebook.run(cell)
    assert "done: epoch" in html_of(output)
