"""A trained model that writes text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from textgen.base import html, values
from textgen.errors import ArtifactError, CorpusError, OptionError
from textgen.generation.batching import Batching
from textgen.generation.continuation import Continuation, check_state_output
from textgen.generation.job import Event, Failed, Job
from textgen.generation.loop import finish, generate
from textgen.generation.request import (
    DEFAULT_LENGTH,
    MOST_TEXTS,
    Generation,
    Generations,
    Piece,
    Request,
    Texts,
    Wishes,
)
from textgen.generation.runtime import Runtime
from textgen.plugins.checks import checked
from textgen.runs.artifact import Artifact
from textgen.runs.quality import describe_quality
from textgen.saved_run import SavedRun
from textgen.text.tokenizer import Tokenizer
from textgen.text.vocabulary import as_in_training

if TYPE_CHECKING:
    from textgen.bulk.write import WriteReport
    from textgen.draft import Draft
    from textgen.evaluation.evaluation import Evaluation
    from textgen.evaluation.samples import Progress
    from textgen.exporting.notebook_page import Page


class TextGenerator:
    """A trained model that writes text.

    Threads may share it, and a process that was forked may use that of its parent; only CUDA and TensorFlow do not
    survive a fork. It is pickled by its folder: another process loads the run again, in the same runtime, and refuses
    to if the weights are others by then. A copy shares the loaded model, which keeps nothing between calls.

    Args:
        run: the run that the model comes from.
        runtime: the loaded model.
        runtime_name: the registered name of the runtime.
        load: loads a run by its folder and the keyword ``runtime``, so that the generator can be pickled.

    Attributes:
        artifact: the run's folder.
        tokenizer: the run's tokenizer, fitted.
        boundaries: how the model's texts begin and end.
        defaults: how the run generates by default.
    """

    def __init__(
        self,
        run: SavedRun,
        runtime: Runtime,
        runtime_name: str,
        *,
        load: Callable[..., TextGenerator] | None = None,
    ) -> None:
        self.run = run
        self._folder = run.artifact.path.absolute()  # the working directory may change
        self._load = load
        self.artifact: Artifact = run.artifact
        self.runtime = runtime
        self.runtime_name = runtime_name
        self._checked = checked(runtime, runtime_name, run.settings["model"]["name"], run.registry)
        self.tokenizer: Tokenizer = run.tokenizer()
        self.boundaries = run.boundaries()
        self.defaults = run.generation()

    def __repr__(self) -> str:
        model = self.run.settings["model"]["name"]
        return f"TextGenerator({str(self.artifact.path)!r}, model={model!r}, runtime={self.runtime_name!r})"

    def _repr_html_(self) -> str:
        manifest, settings = self.artifact.manifest, self.run.settings
        model = {name: value for name, value in settings["model"].items() if name in ("units", "layers")}
        size = "".join(f", {value} {name if value != 1 else name.removesuffix('s')}" for name, value in model.items())
        facts = {
            "model": f"{settings['model']['name']}{size}",
            "corpus": settings["corpus"]["name"],
            "vocabulary": f"{self.tokenizer.vocab_size:,}, {settings['tokenizer']['name']}",
            "status": manifest.status,
            "quality": describe_quality(manifest, speed=False),
            "labels": ", ".join(manifest.labels),
            "runtime": self.runtime_name,
            "folder": str(self.artifact.path),
            "write text": "generator.generate(prompt, length=200, temperature=0.8, seed=7)",
            "load it again": f"textgen.load({str(self.artifact.path)!r})",
        }
        return html.box("TextGenerator", html.facts(facts))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.loader, (str(self._folder),), {"defaults": self.defaults}

    @property
    def loader(self) -> Callable[[str], TextGenerator]:
        """Loads the run again, from a folder, in the same runtime; it can be pickled.

        It raises an :class:`~textgen.errors.ArtifactError` if the weights there are others.
        """
        if self._load is None:
            raise ArtifactError("only a generator that textgen.load returned can be pickled, by the folder of its run")
        return partial(_load_again, self._load, self.runtime_name, self.artifact.weights_sha256)

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: Any) -> Self:
        copied = self.__copy__()
        copied.defaults = self.defaults.model_copy(deep=True)
        return copied

    @overload
    def generate(self, prompt: str | None = None, **options: Unpack[Wishes]) -> str: ...
    @overload
    def generate(self, prompt: list[str] | tuple[str, ...], **options: Unpack[Wishes]) -> list[str]: ...
    def generate(self, prompt: str | Sequence[str] | None = None, **options: Unpack[Wishes]) -> str | list[str]:
        """Write text.

        Args:
            prompt: text to continue, or several; by default the run's own prompt, or none.
            **options: those of :meth:`request`, such as ``length=400, temperature=0.8, seed=7``.

        Returns:
            The prompt and the text that continues it: one text for one prompt, a list if there are several prompts,
            several temperatures or labels, or ``num`` is above 1.

        Example:
            >>> textgen.load("runs/romeo").generate("ROMEO:", length=400, temperature=0.8, seed=7)  # doctest: +SKIP
        """
        prompt = values.plain(prompt)
        texts = [generation.whole for generation in self.sample(self.request(prompt, **options))]
        return texts[0] if len(texts) == 1 and not isinstance(prompt, list) else Texts(texts)

    def stream(self, prompt: str | None = None, **options: Unpack[Wishes]) -> Iterator[str]:
        """Write one text, and yield it while it is written: the prompt first; options as for :meth:`request`.

        Nothing is yielded if the text cannot be begun, such as that of a prompt with unknown characters.
        """
        options["stream"] = True
        request = self.request(prompt, **options)
        if len(request.prompts) != 1:
            raise OptionError("only one text can be streamed at a time")
        pieces = self.pieces(request)
        first = next(pieces, None)
        yield request.prompts[0]
        if first is not None:
            yield first.text
        for piece in pieces:
            yield piece.text

    def request(self, prompt: str | Sequence[str] | None = None, **options: Unpack[Wishes]) -> Request:
        r"""Complete options with the run's defaults.

        Line ends of prompts and stop texts (``\r\n``, ``\r``) are read as ``\n``, as those of the training text were.

        Args:
            prompt: text to continue, or several; by default the run's own prompt, or none.
            **options:
                - ``num``: texts per prompt, by default 1.
                - ``label``: the label of the texts, if the run has any, or several; with several, every prompt is
                  continued with each, with the same random numbers. By default a label is drawn for each text, by how
                  many training documents have it.
                - ``length``: characters to write, at most; a first character drawn for an empty prompt is not counted.
                - ``temperature``: one or several; with several, every prompt is continued at each temperature, with the
                  same random numbers.
                - ``top_k``, ``top_p``, ``min_p``, ``repetition_penalty``: arguments of the samplers of these names,
                  which change the run's own chain.
                - ``sampler``: a whole chain such as ``"temperature(0.8) | top-k(40) | multinomial"``; excludes the five
                  options above.
                - ``seed``: from 0; by default a new one, which each :class:`~textgen.Generation` reports.
                - ``rows``: the seed of each text; by default 0, 1, 2 and so on, from 0 again for each temperature and
                  label.
                - ``stop``: a text that ends a generation, or several.
                - ``ignore_eos``: continue after the end of a document.
                - ``on_unknown``: how to treat characters of the prompt that the vocabulary lacks: ``"error"``,
                  ``"skip"`` or ``"unk"``; by default as the tokenizer does.
                - ``normalize``: compose letters and accents of prompts and stop texts (NFC), as is always done if the
                  training text was normalised so.
                - ``score``: compute log-probabilities.
                - ``chunk``: characters per call of the runtime, by default a number that suits it.
                - ``stream``: the text is shown while it is written, so write texts one after the other, in small
                  pieces.
                - ``keep_state``: keep :attr:`~textgen.Generation.continuation`, from which a text can be continued.
                - ``continuation``: the text to continue, with the same seeds unless others are given.

        Raises:
            OptionError: for unknown options, values of another type or out of range, or a chain together with single
                samplers.
        """
        request = Request.of(self.defaults, self.run.chain, prompt, **options)
        normalization = self._normalization(options)
        texts = {
            text: as_in_training(self.tokenizer, text, normalization) for text in {*request.prompts, *request.stop}
        }
        return replace(
            request,
            prompts=tuple(texts[prompt] for prompt in request.prompts),
            stop=tuple(texts[stop] for stop in request.stop),
        )

    def _normalization(self, options: Wishes) -> Literal["NFC"] | None:
        """The normal form of prompts."""
        return "NFC" if options.get("normalize") else self.artifact.manifest.normalization

    def save_continuation(self, path: str | PathLike[str], continuation: Continuation) -> None:
        """Write a continuation to a file, for :meth:`load_continuation` with this model in any runtime.

        Raises:
            OptionError: if the file cannot be written there, belongs to a run, or exists and is not a saved state.
        """
        file = values.path(path, "path")
        check_state_output(file, "the state")
        continuation.save(file, self.artifact.weights_sha256 or "")

    def load_continuation(self, path: str | PathLike[str]) -> Continuation:
        """Read a file that :meth:`save_continuation` wrote.

        Raises:
            ArtifactError: if the file is missing, was altered, or belongs to another model.
        """
        fingerprint = self.artifact.weights_sha256 or ""
        return Continuation.load(values.path(path, "path"), self._checked, self.tokenizer, fingerprint)

    def pack_continuation(self, continuation: Continuation) -> bytes:
        """The content of the file that :meth:`save_continuation` writes."""
        return continuation.to_bytes(self.artifact.weights_sha256 or "")

    def unpack_continuation(self, content: bytes) -> Continuation:
        """Read what :meth:`pack_continuation` returned.

        Raises:
            ArtifactError: if it was altered, or belongs to another model.
        """
        fingerprint = self.artifact.weights_sha256 or ""
        return Continuation.from_bytes(content, self._checked, self.tokenizer, fingerprint)

    def sample(self, request: Request | str | Sequence[str] | None = None, **options: Unpack[Wishes]) -> Generations:
        """Write the texts of a request; the generations are in the order of its prompts.

        Args:
            request: what :meth:`request` returned; or a prompt or several, which are completed to a request.
            **options: those of :meth:`request`, such as ``num=5, score=True``.

        Raises:
            OptionError: as :meth:`request`, or if a request is given options.

        Example:
            >>> textgen.load("runs/names").sample("Ram", num=5, score=True)  # doctest: +SKIP
        """
        if isinstance(request, Request) and options:
            raise OptionError(f"a request has its options already; leave out {min(options)}")
        wanted = request if isinstance(request, Request) else self.request(request, **options)
        return Generations(finish(self.pieces(wanted)))

    def draft(self, prompt: str | None = None, **options: Unpack[Wishes]) -> Draft:
        """Begin a text to write together: see what may come next, choose, append, undo, let the model write on.

        Args:
            prompt: text to continue; by default the run's own prompt, or none.
            **options: those of :meth:`request`, for a single text. ``length`` and ``stop`` say where the model stops
                when it writes on.

        Raises:
            OptionError: as :meth:`request`; and if the options ask for several texts.
            UnknownCharacterError: if the prompt has an unknown character.

        Example:
            >>> draft = textgen.load("runs/names").draft("Ty", temperature=0.8, seed=7)  # doctest: +SKIP
            >>> draft.choices(3)  # doctest: +SKIP
            >>> draft.choose(draft.choices()[0])  # doctest: +SKIP
            >>> "".join(draft.write()), draft.text  # doctest: +SKIP
        """
        from textgen.draft import Draft

        request = self.request(prompt, **options)
        prepare = partial(as_in_training, self.tokenizer, normalization=self._normalization(options))
        return Draft(self._checked, self.tokenizer, self.boundaries, request, prepare=prepare)

    def pieces(self, request: Request) -> Generator[Piece, None, list[Generation]]:
        """Write the texts of a request: a generator that yields pieces of text, and returns the generations."""
        self.run.registry.life_cycle.notify("textgen_before_generation", request=request)
        generations = yield from generate(self._checked, self.tokenizer, self.boundaries, request)
        self.run.registry.life_cycle.notify("textgen_after_generation", request=request, generations=generations)
        return generations

    def write(
        self,
        out: str | PathLike[str],
        prompt: str | Sequence[str] | None = None,
        *,
        prompts_file: str | PathLike[str] | None = None,
        column: str | None = None,
        keep: Sequence[str] = (),
        shard_rows: int = 50_000,
        unique: bool = False,
        novel: bool = False,
        match: str | None = None,
        max_length: int | None = None,
        log_probability: bool = False,
        on_bad_row: str = "stop",
        engine: str = "local",
        workers: int | None = None,
        engine_options: Mapping[str, Any] | None = None,
        data_dir: str | PathLike[str] | None = None,
        progress: Progress | None = None,
        **options: Unpack[Wishes],
    ) -> WriteReport:
        """Write texts to files, as many as there is room for, with all cores or on a cluster.

        The text of row i is that of row i of :meth:`sample`: it depends on the seed and i alone. A job that was stopped
        or killed continues where it stopped when the same call is made again; see docs/bulk.md.

        Args:
            out: a ``.jsonl``, ``.csv`` or ``.parquet`` file, or a folder of such files: a path that ends with a slash,
                that of a folder that exists, or one without a suffix, for JSON Lines.
            prompt: text to continue, or several; by default the run's own prompt, or none.
            prompts_file: a file with prompts, or a folder of such files: Parquet, CSV, JSON Lines, or lines of text.
            column: of the file, with the prompts; by default ``"prompt"``.
            keep: the columns of the file that are written, too.
            shard_rows: texts per part; a process that is killed loses at most the part that it was writing.
            unique: of equal texts, keep the one of the lowest row.
            novel: keep no training document.
            match: a regular expression; texts, prompt and all, in which it is not found are left out.
            max_length: leave out texts with more characters, prompt and all.
            log_probability: also write log-probabilities.
            on_bad_row: ``"stop"``, or ``"skip"`` to leave out rows of the file that cannot be used.
            engine: where to write, by registered name.
            workers: how many write at the same time; by default one per core.
            engine_options: options of the engine.
            data_dir: a folder searched for the corpus's files before anything is downloaded, for ``novel``.
            progress: called with the name of the current step, the amount done, and the total.
            **options: those of :meth:`request`, such as ``num=10_000, temperature=0.8``. With ``unique``, ``novel``,
                ``match`` or ``max_length``, and at most one prompt, texts are drawn until ``num`` of them stay. The
                default of ``seed`` is that of the job to continue, or a new one.

        Raises:
            OptionError: for options out of range or that exclude each other, files that cannot be read, a row that
                cannot be used, another job in the folder, or a model that has no more to give.
            UnavailableError: if a file cannot be written, a library is missing, or a cluster is not there.

        Example:
            >>> textgen.load("runs/names").write("names.parquet", num=1_000_000, unique=True)  # doctest: +SKIP
        """
        from textgen.bulk.plan import Wanted, make_engine, make_plan
        from textgen.bulk.write import write_job

        documents = partial(self._training_documents, data_dir) if values.truth(novel, "novel") else None
        wanted = Wanted.of(
            out,
            prompt,
            prompts_file=prompts_file,
            column=column,
            keep=keep,
            shard_rows=shard_rows,
            unique=unique,
            novel=documents,
            match=match,
            max_length=max_length,
            log_probability=log_probability,
            on_bad_row=on_bad_row,
            options=options,
        )
        writers = make_engine(self.run.registry, engine, workers, engine_options or {})
        return write_job(make_plan(self, wanted), writers, progress)

    def _training_documents(self, data_dir: str | PathLike[str] | None) -> Iterable[str]:
        from textgen.base.environment import data_folder
        from textgen.evaluation.novelty import training_documents

        corpus = self.run.corpus(data_folder(None if data_dir is None else values.path(data_dir, "data_dir")))
        if corpus.layout != "documents":
            raise OptionError("novel texts are those that are not training documents; this run was trained on a stream")
        return training_documents(self.run, corpus)

    def batching(self, *, most_rows: int = 512, seconds: float | None = 0.02) -> Batching:
        """Write the texts of many requests at once, each as :meth:`sample` writes it alone; see :class:`Batching`.

        Args:
            most_rows: texts that are written at the same time.
            seconds: the time that a turn may take to read prompts, and to write.

        Raises:
            OptionError: if a number is out of range.
        """
        most_rows = values.whole_number(most_rows, "most_rows", 1, MOST_TEXTS)
        if seconds is not None and not (seconds := values.number(seconds, "seconds")) > 0:
            raise OptionError(f"seconds is {seconds:g}; it must be above 0")
        chain = self.run.chain()
        return _NotifyingBatching(self, self._checked, chain=chain, most_rows=most_rows, seconds=seconds)

    def page(self, *, precision: str = "fp32", sampler: str | None = None) -> Page:
        """The page of ``textgen serve`` for a notebook, with engine and model inside it: it needs no server.

        It stays in a notebook that is saved, with its size: about 1.4 times that of the weights, and 80 KB.

        Args:
            precision: ``"fp32"``; or ``"fp16"`` or ``"int8"``, which are smaller and write other texts.
            sampler: a chain that it begins with, by default the run's own.

        Returns:
            What a notebook shows as the page; its attribute ``html`` is the page, for a file.

        Raises:
            UnsupportedModelError: if the engine in JavaScript lacks a part of the run, such as one of a third party, or
                the run is an export.
            OptionError: if there is no such precision, or ``sampler`` is not a chain.

        Example:
            >>> textgen.load("runs/names").page()  # doctest: +SKIP
        """
        from textgen.exporting.notebook_page import Page

        sampler = None if sampler is None else values.text(sampler, "sampler")
        return Page.of(self.run, values.text(precision, "precision"), sampler)

    def evaluate(
        self,
        *,
        context: int | None = None,
        num: int | None = None,
        seed: int | None = None,
        sampler: str | None = None,
        temperature: float | None = None,
        curve: bool = False,
        data_dir: str | PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Evaluate the run on its held-out text, and compare what it writes with its training text.

        Args:
            context: for a stream: the tokens per window; each window is read from the initial state. By default the
                state is carried through the whole text.
            num: the number of texts to write; their first characters are drawn. By default 1,000 for documents, and
                20,000 characters of a stream in all.
            seed: of the texts, by default 0.
            sampler: a chain, by default the run's own.
            temperature: replaces that of the chain.
            curve: whether to write at several temperatures, too: :attr:`Evaluation.curve
                <textgen.evaluation.evaluation.Evaluation>`.
            data_dir: searched for the corpus's files before anything is downloaded.
            progress: called with the name of the current step, the amount done, and the total.

        Raises:
            OptionError: for values out of range, a context for documents, or if the run has no held-out text.
            CorpusError: if the corpus is not available, or no longer has the run's vocabulary.
        """
        from textgen.base.environment import data_folder
        from textgen.evaluation.evaluate import CHARACTERS, TEXTS, evaluate_run, read_split

        folder = data_folder(None if data_dir is None else values.path(data_dir, "data_dir"))
        context = None if context is None else values.whole_number(context, "context", 1, 10**9)
        corpus = self.run.corpus(folder)
        if num is None:
            length = self.defaults.length or DEFAULT_LENGTH
            num = TEXTS if corpus.layout == "documents" else max(1, CHARACTERS // length)
        wished = 0 if seed is None else seed
        request = self.request("", num=num, seed=wished, sampler=sampler, temperature=temperature)
        try:
            split = read_split(self.run, corpus, self.tokenizer)
        except CorpusError as error:
            if self.artifact.manifest.export is None:
                raise
            advice = "an export does not say where its corpus is: give --data-dir, or data_dir in Python"
            raise CorpusError(f"{error}; {advice}") from None
        return evaluate_run(
            self.run,
            self._checked,
            split,
            runtime_name=self.runtime_name,
            context=context,
            request=request,
            write=self.sample,
            curve=values.truth(curve, "curve"),
            progress=progress,
        )


class _NotifyingBatching(Batching):
    """A batching that calls the life-cycle hooks of generation: as a job is added, and once it is done."""

    def __init__(self, generator: TextGenerator, runtime: Runtime, **options: Any) -> None:
        super().__init__(runtime, generator.tokenizer, generator.boundaries, **options)
        self._life_cycle = generator.run.registry.life_cycle

    def add(self, job: Job) -> None:
        self._life_cycle.notify("textgen_before_generation", request=job.request)
        super().add(job)

    def turn(self) -> list[Event | Failed]:
        events = super().turn()
        ended = [event.job for event in events if isinstance(event, Event) and event.finish_reason]
        if not ended or not self._life_cycle.implementers("textgen_after_generation"):
            return events
        for job in dict.fromkeys(ended):
            if job.is_done and job.error is None:
                generations = job.generations()
                self._life_cycle.notify("textgen_after_generation", request=job.request, generations=generations)
        return events


def _load_again(load: Callable[..., TextGenerator], runtime: str, weights: str | None, folder: str) -> TextGenerator:
    """Load the run of a pickled generator.

    Args:
        load: loads a run.
        runtime: by name.
        weights: their SHA-256 when it was pickled.
        folder: of the run, or of its export.

    Raises:
        ArtifactError: if the run is gone, or has other weights by now.
    """
    generator = load(folder, runtime=runtime)
    if generator.artifact.weights_sha256 != weights:
        raise ArtifactError(
            f"{folder} has other weights than when its generator was pickled; load the run anew and pickle that"
        )
    return generator
