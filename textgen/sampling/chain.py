"""The sampler chain, and how it is written.

A chain is written ``temperature(0.8) | top-k(40) | multinomial``: samplers in the order in which they are applied, then
the selector that draws. Ids that must never be drawn are excluded before the first sampler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property

from textgen.errors import OptionError, TextgenError, shortened
from textgen.options import Options, build_options
from textgen.sampling.sampler import Sampler, Selector

#: Finds the class of a sampler or selector by its name.
Lookup = Callable[[str], type[Sampler] | type[Selector]]

#: The order in which single settings (``--top-k 40``) are inserted into a chain that lacks them.
ORDER = ("repetition-penalty", "temperature", "top-k", "top-p", "min-p")

#: The samplers of the two common forms, which end in ``multinomial``.
PLAIN, FULL = ("temperature",), ORDER

#: Numbers of single samplers that change nothing, as clients of OpenAI's API send them.
_NEUTRAL = {"top_k": (0, -1), "top_p": (1,), "min_p": (0,), "repetition_penalty": (1,)}

#: The most characters and links of a written chain, many more than any use of one has.
MOST_CHARACTERS, MOST_LINKS = 4_000, 100

#: Characters of a chain that a message quotes.
QUOTED = 100

#: Possessive, so that the time is linear in the length of the text.
_LINK = re.compile(r"(?P<name>[a-z][a-z0-9-]*+)\s*+(?:\((?P<arguments>[^()]*+)\))?")


@dataclass(frozen=True)
class Link:
    """One part of a written chain: a name and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})" if self.arguments else self.name


def read_links(text: str) -> list[Link]:
    """Parse a written chain, without looking names up.

    Raises:
        OptionError: if the text is not a chain, or has more than :data:`MOST_CHARACTERS` characters or
            :data:`MOST_LINKS` links.
    """
    links = []
    shown = shortened(text, QUOTED)
    parts = text.split("|") if len(text) <= MOST_CHARACTERS else []
    if not 1 <= len(parts) <= MOST_LINKS:
        raise OptionError(
            f"the sampler chain {shown} has more than {MOST_CHARACTERS:,} characters or {MOST_LINKS} links; "
            "write a shorter one"
        )
    for part in parts:
        match = _LINK.fullmatch(part.strip())
        if not match:
            what = shortened(part.strip(), QUOTED)
            raise OptionError(
                f"{what} in the sampler chain {shown} is not of the form name or name(value), "
                "as in 'temperature(0.8) | top-k(40) | multinomial'"
            )
        arguments = (match["arguments"] or "").strip()
        links.append(Link(match["name"], tuple(a.strip() for a in arguments.split(",")) if arguments else ()))
    return links


def edit_chain(text: str, values: Mapping[str, float]) -> str:
    """Set single samplers of a chain, such as ``{"temperature": 0.5, "top-k": 40}``.

    A sampler that is in the chain takes the new value; any other is inserted by :data:`ORDER`. A temperature asks for
    sampling, so it turns ``greedy`` at the end of the chain into ``multinomial``.

    Raises:
        OptionError: if the text is not a chain.
    """
    links = read_links(text)
    for name, value in values.items():
        link = Link(name, (f"{value:.15g}",))
        found = [index for index, old in enumerate(links) if old.name == name]
        if found:
            links[found[0]] = link
        else:
            later = ORDER[ORDER.index(name) :]
            at = next((i for i, old in enumerate(links) if old.name in later), len(links) - 1)
            links.insert(at, link)
    if "temperature" in values and links[-1] == Link("greedy"):
        links[-1] = Link("multinomial")
    return " | ".join(map(str, links))


def effective_numbers(chain: str, given: Mapping[str, float | None], vocab_size: int) -> dict[str, float]:
    """Leave out numbers of single samplers that change nothing, which many clients of OpenAI's API send all the same.

    A chain without such a sampler is faster. If the chain has it, the number replaces the chain's.

    Args:
        chain: as written.
        given: a request's ``top_k``, of which 0 and -1 keep all ids, ``top_p``, ``min_p`` and ``repetition_penalty``;
            ``None`` for one that it lacks.
        vocab_size: the number of ids.

    Example:
        >>> effective_numbers("top-p(0.9) | multinomial", {"top_k": -1, "top_p": 1, "min_p": 0.1}, 50)
        {'top_p': 1, 'min_p': 0.1}
    """
    found = {}
    for option, number in given.items():
        if number is None:
            continue
        is_neutral = number in _NEUTRAL[option]
        if is_neutral and all(link.name != option.replace("_", "-") for link in read_links(chain)):
            continue
        found[option] = vocab_size if is_neutral and option == "top_k" else number
    return found


class Chain:
    """Samplers in order, and the selector that ends them.

    Args:
        text: the chain as written.
        lookup: finds classes by name.
        owner: returns the name in errors of a part whose results have to be checked, such as that of a third party;
            ``None`` for any other part.

    Attributes:
        text: the chain, in the usual form.
        names: of the samplers and the selector, in order.
        samplers: in order.
        selector: the last link.
        owners: what ``owner`` returned for each part, in order.

    Raises:
        OptionError: if the text is not a chain, an argument is out of range, or the last link is not a selector.
        UnknownNameError: if ``lookup`` does not know a name.
    """

    def __init__(self, text: str, lookup: Lookup, owner: Callable[[str], str | None] = lambda name: None) -> None:
        links = read_links(text)
        *parts, selector = (_build(link, lookup(link.name)) for link in links)
        if not isinstance(selector, Selector):
            shown = shortened(text, QUOTED)
            raise OptionError(f"the sampler chain {shown} must end in a selector: append '| multinomial' or '| greedy'")
        samplers: list[Sampler] = []
        for link, part in zip(links[:-1], parts, strict=True):
            if isinstance(part, Selector):
                raise OptionError(
                    f"{link} in the sampler chain {shortened(text, QUOTED)} is a selector and can only stand at its end"
                )
            samplers.append(part)
        self.text = " | ".join(map(str, links))
        self.names = tuple(link.name for link in links)
        self.samplers = tuple(samplers)
        self.selector = selector
        self.owners = tuple(map(owner, self.names))
        self._links = links
        self._lookup, self._owner = lookup, owner

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and (self.text, self._options) == (other.text, other._options)

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def _options(self) -> list[Options]:
        return [*(sampler.options for sampler in self.samplers), self.selector.options]

    @cached_property
    def form(self) -> Hashable:
        """What chains have in common that differ in the samplers' numbers alone: names, and the selector's options."""
        return self.names, self.selector.options.model_dump_json()

    @cached_property
    def parameters(self) -> list[dict[str, float]]:
        """The numbers of each sampler, by name."""
        return [sampler.parameters for sampler in self.samplers]

    @property
    def is_common(self) -> bool:
        """Whether the chain is in one of the common forms."""
        return self.names in ((*PLAIN, "multinomial"), (*FULL, "multinomial"))

    @cached_property
    def common(self) -> Chain:
        """The chain in a common form, which draws the same ids, so that rows with many chains can share a graph.

        Samplers that it lacks get the numbers with which they change nothing; ``greedy`` is ``top-k(1)``. It is the
        chain itself if it fits into neither form: if its samplers stand in another order than :data:`ORDER`, are
        repeated, or are not all bundled.
        """
        *samplers, selector = self._links
        names = [link.name for link in samplers]
        own: dict[str, Link] = dict(zip(names, samplers, strict=True))
        if selector == Link("greedy"):
            own["top-k"] = Link("top-k", ("1",))
        elif selector != Link("multinomial"):
            return self
        form = PLAIN if own.keys() <= set(PLAIN) else FULL
        if names != [name for name in form if name in names]:
            return self
        try:
            links = [own.get(name) or self._neutral(name) for name in form]
            found = Chain(" | ".join(map(str, [*links, "multinomial"])), self._lookup, self._owner)
        except TextgenError:  # a sampler is missing, or never changes nothing
            return self
        return self if any((*self.owners, *found.owners)) else found

    def _neutral(self, name: str) -> Link:
        """A sampler with the numbers with which it changes nothing."""
        kind = self._lookup(name)
        if not issubclass(kind, Sampler) or kind.neutral is None:
            raise OptionError(f"{name} has no numbers with which it changes nothing")
        return Link(name, tuple(f"{option}={value:.15g}" for option, value in kind.neutral.items()))

    @property
    def uses_history(self) -> bool:
        """True if a sampler of the chain needs to know which ids are in a row."""
        return any(sampler.uses_history for sampler in self.samplers)


def _build(link: Link, kind: type[Sampler] | type[Selector]) -> Sampler | Selector:
    fields = list(kind.Options.model_fields)
    if len(link.arguments) > len(fields):
        raise OptionError(f"{link} has {len(link.arguments)} arguments, {link.name} takes {len(fields)}")
    values: dict[str, str] = {}
    for field, argument in zip(fields, link.arguments, strict=False):
        name, equals, value = argument.partition("=")
        option = name.strip() if equals else field
        if option in values:
            raise OptionError(f"{link} gives {option} twice")
        values[option] = value.strip() if equals else argument
    return kind(build_options(kind.Options, values, where=link.name))
