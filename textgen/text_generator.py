"""A trained model that writes text: the runtime, the tokenizer and the run that both come from."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from textgen.errors import OptionError
from textgen.generation.chain import edit_chain
from textgen.generation.continuation import Continuation, load_continuation, save_continuation
from textgen.generation.loop import continue_after, finish, generate
from textgen.generation.request import Generation, GenerationOptions, Piece, Request
from textgen.generation.runtime import Runtime
from textgen.options import build_options
from textgen.runs.artifact import Artifact
from textgen.saved_run import SavedRun
from textgen.text.tokenizer import OnUnknown, Tokenizer

if TYPE_CHECKING:
    from textgen.evaluation.evaluate import Evaluation, Progress


class TextGenerator:
    """A trained model that writes text.

    Args:
        run: the run that the model comes from.
        runtime: the loaded model.
        runtime_name: the runtime's, as registered.

    Attributes:
        artifact: the run's folder.
        tokenizer: the run's, fitted.
        defaults: how the run generates where nothing else is asked for.
    """

    def __init__(self, run: SavedRun, runtime: Runtime, runtime_name: str) -> None:
        self.run = run
        self.artifact: Artifact = run.artifact
        self.runtime = runtime
        self.runtime_name = runtime_name
        self.tokenizer: Tokenizer = run.tokenizer()
        self.defaults = build_options(GenerationOptions, run.settings.get("generation", {}), where="generation")

    @overload
    def generate(self, prompt: str | None = None, **options: Any) -> str: ...
    @overload
    def generate(self, prompt: Sequence[str], **options: Any) -> list[str]: ...
    def generate(self, prompt: str | Sequence[str] | None = None, **options: Any) -> str | list[str]:
        """Write text; options are those of :meth:`request`.

        Args:
            prompt: text to go on from, or several; by default the run's own, or none.
            **options: such as ``length=400, temperature=0.8, seed=7, ignore_eos=False``.

        Returns:
            The prompt and what follows it: a text for one prompt, a list for several or for ``num`` above 1.

        Example:
            >>> textgen.load("runs/romeo").generate("ROMEO:", length=400, temperature=0.8, seed=7)  # doctest: +SKIP
        """
        texts = [g.prompt + g.text for g in self.sample(self.request(prompt, **options))]
        return texts[0] if len(texts) == 1 and (prompt is None or isinstance(prompt, str)) else texts

    def stream(self, prompt: str | None = None, **options: Any) -> Iterator[str]:
        """Write one text and yield it as it comes: the prompt first; options are those of :meth:`request`."""
        request = self.request(prompt, **options)
        if len(request.prompts) != 1:
            raise OptionError("only one text can be streamed at a time")
        yield request.prompts[0]
        for piece in self.pieces(request):
            yield piece.text

    def request(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        num: int = 1,
        length: int | None = None,
        temperature: float | Sequence[float] | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        sampler: str | None = None,
        seed: int | None = None,
        rows: Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
        on_unknown: OnUnknown | None = None,
        score: bool = False,
        chunk: int | None = None,
        continuation: Continuation | None = None,
    ) -> Request:
        """Fill in the run's own way of generating where nothing else is asked for.

        Args:
            prompt: text to go on from, or several.
            num: texts a prompt.
            length: characters to write, at most; a first one, drawn where there is no prompt, comes on top.
            temperature: one, or several: then every prompt is gone on from with each, under the same randomness.
            top_k: as the sampler ``top-k``; likewise ``top_p``, ``min_p``, ``repetition_penalty``.
            top_p: see ``top_k``.
            min_p: see ``top_k``.
            repetition_penalty: see ``top_k``.
            sampler: a chain such as ``"temperature(0.8) | top-k(40) | multinomial"``; excludes the five before.
            seed: from 0; drawn where it is ``None``, and told by each :class:`~textgen.generation.request.Generation`.
            rows: each text's own seed; by default 0, 1, 2 and so on, from 0 again for each temperature.
            stop: texts that end a generation.
            ignore_eos: go on after the end of a document.
            on_unknown: what to do with characters of the prompt that the vocabulary lacks.
            score: whether to compute log-probabilities.
            chunk: characters between two looks at what was written.
            continuation: where to go on from, as :meth:`continue_after` gave it, under its seeds unless others are
                given.

        Raises:
            OptionError: for values out of range, or a chain beside single samplers.
        """
        if continuation is not None:
            prompt = prompt or ""
            seed = continuation.seed if seed is None else seed
            rows = [continuation.row] if rows is None else rows
        prompts = [prompt] if isinstance(prompt, str) else list(prompt or [self.defaults.prompt or ""])
        temperatures = [temperature] if temperature is None or isinstance(temperature, float | int) else [*temperature]
        if num < 1 or (length is not None and length < 1) or (chunk is not None and chunk < 1):
            raise OptionError("num, length and chunk must be at least 1")
        for number in (*([] if seed is None else [seed]), *(rows or ())):
            if not 0 <= number < 2**64:
                raise OptionError(f"a seed must be from 0 to 2**64 - 1, not {number}")
        single = {"top-k": top_k, "top-p": top_p, "min-p": min_p, "repetition-penalty": repetition_penalty}
        chains = []
        for value in temperatures or [None]:
            wanted = {"temperature": value, **single}
            edits = {name: setting for name, setting in wanted.items() if setting is not None}
            if sampler is not None and edits:
                raise OptionError(
                    f"a sampler chain and {', '.join(edits)} exclude each other; write all into the chain"
                )
            chains.append(self.run.chain(edit_chain(sampler or self.defaults.sampler, edits)))
        each = len(prompts) * num
        return Request(
            prompts=tuple(text for text in prompts for _ in range(num)) * len(chains),
            length=length or self.defaults.length or 400,
            chains=tuple(chain for chain in chains for _ in range(each)),
            seed=secrets.randbits(32) if seed is None else seed,
            rows=tuple(rows if rows is not None else range(each)) * len(chains),
            stop=self.defaults.stop if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
            ignore_eos=ignore_eos,
            on_unknown=on_unknown,
            score=score,
            chunk=chunk,
            continuation=continuation,
        )

    def continue_after(self, request: Request, generation: Generation) -> Continuation:
        """Where a text can be gone on from: writing it in two parts gives the same text as writing it at once."""
        return continue_after(self.runtime, self.tokenizer, request, generation)

    def save_continuation(self, path: str | Path, continuation: Continuation) -> None:
        """Write a continuation to a file, for :meth:`load_continuation` with this model in any runtime."""
        save_continuation(Path(path), continuation, self.artifact.weights_sha256 or "")

    def load_continuation(self, path: str | Path) -> Continuation:
        """Read what :meth:`save_continuation` wrote; raises ``ArtifactError`` for one of another model."""
        return load_continuation(Path(path), self.runtime, self.artifact.weights_sha256 or "")

    def sample(self, request: Request) -> list[Generation]:
        """Write what a request asks for; the generations come in the order of its rows."""
        return finish(self.pieces(request))

    def pieces(self, request: Request) -> Generator[Piece, None, list[Generation]]:
        """Write what a request asks for: yields text as it comes, returns the generations, as a generator does."""
        self.run.registry.notify("textgen_before_generation", request=request)
        generations = yield from generate(self.runtime, self.tokenizer, self.artifact.boundaries, request)
        self.run.registry.notify("textgen_after_generation", request=request, generations=generations)
        return generations

    def evaluate(
        self,
        *,
        context: int | None = None,
        num: int | None = None,
        seed: int | None = None,
        sampler: str | None = None,
        temperature: float | None = None,
        data_dir: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Judge the run by the text that it held out, and what it writes by the documents that it learned from.

        Args:
            context: for a stream: read it in windows of so many characters, each from the initial state; by default the
                state is carried through the whole text.
            num: for documents, as are the next three: texts to write, 1,000 by default, from drawn first characters.
            seed: of the texts, 0 by default.
            sampler: a chain, by default the run's own.
            temperature: instead of the chain's.
            data_dir: searched for the corpus's files before anything is downloaded.
            progress: is told what is under way, how much of it is done, and of how much.

        Raises:
            OptionError: for values out of range or meant for another layout, or where the run held nothing out.
            CorpusError: where the corpus is not at hand, or no longer has the run's vocabulary.
        """
        from textgen.base.environment import data_folder
        from textgen.evaluation.evaluate import TEXTS, evaluate_run, read_split

        folder = data_folder(None if data_dir is None else Path(data_dir))
        corpus = self.run.corpus(folder)
        texts = {"num": num, "seed": seed, "sampler": sampler, "temperature": temperature}
        request = None
        if corpus.layout == "documents":
            texts |= {"num": TEXTS if num is None else num, "seed": seed or 0}
            request = self.request("", **texts)  # type: ignore[arg-type]  # one dictionary, several types
        elif given := [name for name, value in texts.items() if value is not None]:
            raise OptionError(f"{', '.join(given)}: for documents only; this run was trained on a stream")
        return evaluate_run(
            self.run,
            self.runtime,
            read_split(self.run, corpus, self.tokenizer),
            runtime_name=self.runtime_name,
            context=context,
            request=request,
            write=self.sample,
            progress=progress,
        )
