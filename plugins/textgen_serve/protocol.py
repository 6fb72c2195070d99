"""What the server reads and answers: the fields of requests and answers, their bounds, and the one shape of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from textgen import OnUnknown

#: The most texts per prompt, prompts, stop texts, characters of a stop text, of a prompt and of a text.
MOST_TEXTS, MOST_PROMPTS, MOST_STOPS, LONGEST_STOP, LONGEST_PROMPT, LONGEST_TEXT = 128, 1024, 16, 256, 65_536, 100_000

#: The most tokens of a request whose log-probabilities are kept until it is answered: half a kilobyte each.
MOST_SCORED = 2**18

#: The most characters of a message that an answer repeats.
_LONGEST_MESSAGE = 500

#: Fields of OpenAI's that would change the text, and that this server lacks.
_REFUSED = ("suffix", "logit_bias", "presence_penalty", "frequency_penalty")

ErrorType = Literal[
    "invalid_request_error", "authentication_error", "rate_limit_error", "unavailable_error", "timeout_error",
    "server_error",
]  # fmt: skip


class RequestError(Exception):
    """An error that a client is told of.

    Args:
        status: of the answer.
        message: what is wrong, and what to do.
        type: its kind.
        param: the field of the request that is wrong.
        code: a word that a program can compare.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: ErrorType = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body = {"error": {"message": message[:_LONGEST_MESSAGE], "type": type, "param": param, "code": code}}


def unavailable(message: str, code: str) -> RequestError:
    """The error of a server that cannot answer now; another one may."""
    return RequestError(503, message, "unavailable_error", code=code)


def _whole(value: object) -> object:
    """A number such as 16.0, as some languages write whole numbers, as a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[int, Field(ge=0, lt=2**31)]
Text = Annotated[str, Field(max_length=LONGEST_PROMPT)]
Ids = Annotated[list[Id], Field(max_length=LONGEST_PROMPT)]
Stop = Annotated[str, Field(max_length=LONGEST_STOP)]


class Body(BaseModel):
    """The base class of bodies of requests: no value is converted, and null is as good as absent."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class StreamOptions(Body):
    """The field ``stream_options``."""

    include_usage: bool | None = Field(None, description="Send the number of tokens before the end of the stream.")


class CompletionRequest(Body):
    """The body of POST /v1/completions."""

    model: str | None = Field(None, description="Id of a served model; by default the first.")
    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_PROMPTS)]
        | Annotated[list[Id], Field(min_length=1, max_length=LONGEST_PROMPT)]
        | Annotated[list[Ids], Field(min_length=1, max_length=MOST_PROMPTS)]
        | None
    ) = Field(
        None,
        description="A text, token ids, or a list of either. By default the run's own; "
        "for an empty one the first token is drawn.",
    )
    max_tokens: Annotated[Whole, Field(ge=0, le=LONGEST_TEXT)] | None = Field(
        None,
        description="Characters to write, at most, as --length of textgen sample. 0 only with echo. "
        "By default what the server was started with.",
    )
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="0 takes the likeliest token. By default the run's own."
    )
    top_p: Annotated[float, Field(ge=1e-6, le=1)] | None = Field(None, description="By default the run's own.")
    top_k: Annotated[Whole, Field(ge=-1, lt=2**31)] | None = Field(
        None, description="0 and -1 keep all tokens. By default the run's own."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="By default the run's own.")
    repetition_penalty: Annotated[float, Field(ge=1e-3, le=1e3)] | None = Field(
        None, description="By default the run's own."
    )
    sampler: Annotated[str, Field(max_length=4_000)] | None = Field(
        None, description="A whole sampler chain, instead of the five numbers above."
    )
    n: Annotated[Whole, Field(ge=1, le=MOST_TEXTS)] | None = Field(None, description="Texts per prompt, by default 1.")
    best_of: Annotated[Whole, Field(ge=1, le=MOST_TEXTS)] | None = Field(
        None, description="Texts to write per prompt, of which the n likeliest per token are returned."
    )
    seed: Annotated[Whole, Field(ge=0, lt=2**64)] | None = Field(
        None, description="The same seed gives the same text. By default a new one, which textgen.seed reports."
    )
    row: Annotated[Whole, Field(ge=0, lt=2**63)] | None = Field(
        None, description="The number of the first text of the seed, by default 0; the others follow."
    )
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = Field(
        None, description="Texts that end a text. By default the run's own."
    )
    include_stop_str_in_output: bool | None = Field(None, description="Whether the stop text is part of the text.")
    ignore_eos: bool | None = Field(None, description="Continue after the end of a document.")
    echo: bool | None = Field(None, description="Return the prompt, too, before the text.")
    logprobs: Annotated[Whole, Field(ge=0, le=5)] | None = Field(
        None,
        description="Return the log-probability of each token (nats, temperature 1), and of so many likeliest tokens.",
    )
    stream: bool | None = Field(None, description="Send the text while it is written, as server-sent events.")
    stream_options: StreamOptions | None = Field(None, description="Only with stream.")
    stream_interval: Annotated[Whole, Field(ge=1, le=LONGEST_TEXT)] | None = Field(
        None, description="The fewest characters of a text that are sent at once, by default 1."
    )
    label: str | None = Field(None, description="The label of the texts, if the run has labels. By default drawn.")
    on_unknown: OnUnknown | None = Field(
        None, description="How to treat characters of the prompt that the model does not know."
    )
    continuation: str | None = Field(
        None, description="The text to continue: choices[].textgen.continuation of an earlier answer."
    )
    return_continuation: bool | None = Field(
        None, description="Return choices[].textgen.continuation, with which the text can be continued."
    )
    user: str | None = Field(None, description="Ignored.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if refused := next((name for name in _REFUSED if (self.model_extra or {}).get(name)), None):
            raise RequestError(400, f"{refused} is not supported; leave it out", param=refused)
        if self.stream_options is not None and not self.stream:
            raise RequestError(400, "stream_options is only for stream: true", param="stream_options")
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise RequestError(400, f"best_of must be at least n, which is {self.n or 1}", param="best_of")
        if self.best_of is not None and self.stream:
            raise RequestError(400, "best_of and stream exclude each other", param="best_of")
        if self.max_tokens == 0 and not self.echo:
            raise RequestError(400, "max_tokens must be at least 1, unless echo is true", param="max_tokens")
        if self.continuation is not None and self.echo:
            raise RequestError(400, "echo and continuation exclude each other", param="echo")
        if self.continuation is not None and self.label is not None:
            raise RequestError(400, "a text that is continued has the label that it began with", param="label")
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]] | None:
        """The prompts, all as texts or all as ids; ``None`` for the run's own."""
        found: Any = self.prompt
        is_one = isinstance(found, str) or (isinstance(found, list) and isinstance(found[0], int))
        return [found] if is_one else found

    @property
    def written(self) -> int:
        """The texts to write per prompt."""
        return self.best_of or self.n or 1

    @property
    def rows(self) -> int:
        """The texts to write in all."""
        return len(self.prompts or "1") * self.written


class TokenizeRequest(Body):
    """The body of POST /tokenize."""

    model: str | None = Field(None, description="Id of a served model; by default the first.")
    prompt: Text = Field(description="The text.")
    on_unknown: OnUnknown | None = Field(None, description="How to treat characters that the model does not know.")


class NextRequest(Body):
    """The body of POST /next."""

    model: str | None = Field(None, description="Id of a served model; by default the first.")
    prompt: Text = Field(description="The text that the tokens follow.")
    label: str | None = Field(None, description="Its label, if the run has labels. By default the most frequent.")
    on_unknown: OnUnknown | None = Field(
        None, description="How to treat characters of the prompt that the model does not know."
    )


class DetokenizeRequest(Body):
    """The body of POST /detokenize."""

    model: str | None = Field(None, description="Id of a served model; by default the first.")
    tokens: Ids = Field(description="Token ids.")


BodyT = TypeVar("BodyT", bound=Body)


def read_body(kind: type[BodyT], content: bytes, *, strict: bool = False) -> BodyT:
    """Validates the body of a request.

    Args:
        kind: of body.
        content: as received.
        strict: whether unknown fields are an error.

    Raises:
        RequestError: with status 400; names the first field that is wrong.
    """
    try:
        body = kind.model_validate_json(content)
    except ValidationError as error:
        raise _explained(error) from None
    unknown = next(iter(body.model_extra or {}), None)
    if strict and unknown is not None:
        raise RequestError(400, f"there is no field {unknown[:100]!r}", param=unknown[:100])
    return body


def _explained(error: ValidationError) -> RequestError:
    """What is wrong with a body, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(400, f"the body is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    if not first["loc"]:
        return RequestError(400, "the body must be a JSON object")
    param = str(first["loc"][0])
    if param == "prompt":
        ids = f"ids from 0, at most {LONGEST_PROMPT:,}"
        message = (
            f"a text of at most {LONGEST_PROMPT:,} characters, {ids}, or a list of 1 to {MOST_PROMPTS:,} of either"
        )
        return RequestError(400, f"prompt must be {message}", param=param)
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    verb = "must be" if message != first["msg"] else "is refused:"
    return RequestError(400, f"{param} {verb} {message}", param=param)


class Usage(BaseModel):
    """The number of tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(BaseModel):
    """The log-probabilities of the tokens of a text, in nats at temperature 1; those of a first token are null."""

    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int]
    top_logprobs: list[dict[str, float] | None]


class UnknownPiece(BaseModel):
    """A character of a prompt that the model does not know, or a longer piece such as a word."""

    character: str
    position: int = Field(description="The index of its first occurrence in the prompt, from 0, in code points.")
    count: int = Field(description="The number of its occurrences.")
    treatment: Literal["unk", "skip"] = Field(description="Whether the unknown id stands for it, or it was left out.")
    composed: str | None = Field(description="The character that it forms with those around it, if that is known.")


class ChoiceDetails(BaseModel):
    """What textgen says of a text."""

    row: int = Field(description="The number of the text of its seed.")
    unknown: list[UnknownPiece] = Field([], description="What the model does not know of the prompt.")
    continuation: str | None = Field(None, description="With which the text can be continued.")


class Choice(BaseModel):
    """A text."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None
    stop_reason: str | None = Field(None, description="The stop text that ended the text.")
    textgen: ChoiceDetails | None = None


class Details(BaseModel):
    """What textgen says of an answer."""

    seed: int = Field(description="With which the same texts are written again.")


class Completion(BaseModel):
    """The answer to POST /v1/completions, and an event of a stream, without its end ``[DONE]``."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str = Field(description="As long as it is the same, so is the text of a seed.")
    choices: list[Choice]
    usage: Usage | None = None
    textgen: Details


class ModelDetails(BaseModel):
    """What textgen says of a model."""

    vocab_size: int
    cell: str | None
    units: list[int]
    precision: str
    chain: str
    runtime: str
    device: str
    prompt: str = Field(description="The run's own prompt.")
    labels: list[str]
    default_length: int
    corpus: str = Field(description="The training text, by the name of its corpus.")
    license: str | None = Field(description="Terms of the training text.")
    held_out_loss: float | None = Field(description="Nats per character on text that was held out.")


class Model(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["textgen"] = "textgen"
    textgen: ModelDetails


class Models(BaseModel):
    """The answer to GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """The answer to GET /health."""

    status: Literal["ok"] = "ok"
    models: list[str]
    default_length: int


class Tokens(BaseModel):
    """The answer to POST /tokenize."""

    tokens: list[int]
    count: int
    max_model_len: int = Field(description="The most characters of a prompt.")


class Detokenized(BaseModel):
    """The answer to POST /detokenize."""

    prompt: str


class TokenizerInfo(BaseModel):
    """The answer to GET /tokenizer_info."""

    tokenizer_class: str
    vocab_size: int
    eos_token: str | None
    eos_token_id: int | None
    pad_token: str | None
    unk_token: str | None
    bos_token: None = None
    chat_template: None = None


class NextToken(BaseModel):
    """A token that may follow."""

    id: int
    text: str
    logprob: float
    is_end: bool = Field(description="Whether it is the end of a document.")


class NextTokens(BaseModel):
    """The answer to POST /next: the likeliest tokens that may follow, the likeliest first."""

    model: str
    choices: list[NextToken]


class ErrorDetails(BaseModel):
    """An error."""

    message: str
    type: ErrorType
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetails
