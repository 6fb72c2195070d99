"""A real browser, and the page in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """Chromium; skips the test if there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, from PyPI")
    with api.sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


def launch(chromium: Any, *flags: str) -> Any:
    """Start Chromium; skips the test if it is not installed.

    Args:
        chromium: as Playwright has it: ``browser.browser_type``.
        flags: of its command line.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is installed")
    # Playwright switches off the cache of pages that are left, which people's browsers have.
    ignored = ["--disable-back-forward-cache"]
    return chromium.launch(executable_path=found, args=["--no-sandbox", *flags], ignore_default_args=ignored)


class Tab:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.url = url
        self.problems: list[str] = []
        self.strangers: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.strangers.append(request.url)

    def open(self, fragment: str = "") -> Any:
        self.page.goto(self.url + fragment)
        self.page.locator("#bars li:visible").first.wait_for()
        return self.page

    def close(self) -> None:
        self.context.close()
        # A refused request is an error in the console, whatever the page does about it.
        problems = [problem for problem in self.problems if not problem.startswith("Failed to load resource")]
        assert (problems, self.strangers) == ([], [])


def bars(page: Any) -> list[tuple[str, float, float]]:
    """The visible bars: text, probability with the settings, and without."""
    found = page.evaluate(
        """[...document.querySelectorAll('#bars li:not([hidden]) button')].map(bar => [
            bar.querySelector('.mark').textContent,
            Number(bar.style.getPropertyValue('--share')), Number(bar.style.getPropertyValue('--own'))])"""
    )
    return [tuple(bar) for bar in found]


def texts(page: Any) -> list[str]:
    """The texts, prompts included."""
    return [body.text_content() for body in page.locator(".text .body").all()]


def finish(page: Any) -> None:
    """Wait until the texts have ended."""
    page.locator("#stop:disabled").wait_for()
    page.locator("#texts .end:text-matches('.')").first.wait_for()


def stop_the_clock(page: Any) -> None:
    """Let no timer of the page run out any more, so that what is shown for a moment stays."""
    page.clock.install(time=0)
    page.clock.pause_at(1)


def paste(page: Any, text: str) -> None:
    """Make a text the prompt at once; ``fill`` types it, which takes Chromium minutes for a long one."""
    page.locator("#prompt").evaluate(
        "(prompt, text) => { prompt.value = text; prompt.dispatchEvent(new Event('input', {bubbles: true})); }", text
    )


def serious_findings(page: Any) -> list[tuple[str, list[str]]]:
    """What axe-core finds that is serious or worse: rules, and the elements that break them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python, from PyPI")
    found = axe.Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
