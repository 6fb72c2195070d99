"""HTML as a test reads it."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The text of HTML, and its tags; each that is opened must be closed."""

    EMPTY = ("circle", "rect", "polyline", "path")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
