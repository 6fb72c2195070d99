"""Three tiny corpora.

``tiny-stream`` is one text of nearly a thousand characters, ``tiny-documents`` 48 words, and ``tiny-labelled`` the same
words, labelled by their length.

The module is also a plugin; register it with :func:`textgen.testing.registered`.
"""

from __future__ import annotations

from collections.abc import Iterator

from textgen import Corpus, Layout, Provenance, Register, hookimpl

_TREES = (
    "ash alder apple aspen bay beech birch box cedar cherry chestnut cypress dogwood ebony elder elm fig fir hawthorn "
    "hazel hemlock holly hornbeam juniper larch laurel lime linden maple medlar mulberry oak olive osier palm pear "
    "pine plane plum poplar quince rowan spruce tamarisk teak walnut willow yew"
)

#: 48 words of 3 to 8 letters.
WORDS = tuple(_TREES.split())

#: Lines of two and of three words, alternating.
TEXT = "".join(
    f"{WORDS[at % 48]} and {WORDS[at * 5 % 48]}\n" if at % 2 else f"{WORDS[at % 48]}, {WORDS[at * 7 % 48]}; yew\n"
    for at in range(56)
)


class TinyStream(Corpus):
    """One text of nearly a thousand characters, 30 of them distinct.

    Example:
        >>> (text,) = TinyStream(TinyStream.Options()).documents()
        >>> text.splitlines()[:2]
        ['ash, ash; yew', 'alder and beech']
    """

    @property
    def layout(self) -> Layout:
        return "stream"

    def documents(self) -> Iterator[str]:
        yield TEXT

    def provenance(self) -> Provenance:
        return Provenance((), "CC0-1.0")


class TinyDocuments(Corpus):
    """48 words, one per document.

    Example:
        >>> list(TinyDocuments(TinyDocuments.Options()).documents())[:3]
        ['ash', 'alder', 'apple']
    """

    @property
    def layout(self) -> Layout:
        return "documents"

    def documents(self) -> Iterator[str]:
        yield from WORDS

    def provenance(self) -> Provenance:
        return Provenance((), "CC0-1.0")


class TinyLabelled(TinyDocuments):
    """The words of :class:`TinyDocuments`, labelled ``short`` up to four letters, ``long`` from six, else ``medium``.

    Example:
        >>> list(TinyLabelled(TinyLabelled.Options()).labelled_documents())[:3]
        [('short', 'ash'), ('medium', 'alder'), ('medium', 'apple')]
    """

    @property
    def is_labelled(self) -> bool:
        return True

    def labelled_documents(self) -> Iterator[tuple[str, str]]:
        for word in self.documents():
            yield "short" if len(word) <= 4 else "medium" if len(word) == 5 else "long", word


@hookimpl
def textgen_register_corpora(register: Register) -> None:
    """Register the corpora."""
    register("tiny-stream", "textgen.testing.tiny:TinyStream", "Lines of trees.")
    register("tiny-documents", "textgen.testing.tiny:TinyDocuments", "48 trees.")
    register("tiny-labelled", "textgen.testing.tiny:TinyLabelled", "48 trees, labelled short, medium or long.")
