"""What the server reads: the fields of the bodies of requests, and their bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from textgen import OnUnknown
from textgen_serve.protocol.errors import RequestError

#: The most texts per prompt, prompts, stop texts, characters of a stop text, of a prompt and of a text.
MOST_TEXTS, MOST_PROMPTS, MOST_STOPS, LONGEST_STOP, LONGEST_PROMPT, LONGEST_TEXT = 128, 1024, 16, 256, 65_536, 100_000

#: The most characters of a sampler chain.
LONGEST_CHAIN = 4_000

#: The most tokens of a request whose log-probabilities are kept until it is answered: half a kilobyte each.
MOST_SCORED = 2**18

#: Fields of OpenAI's that would change the text, and that this server lacks.
_REFUSED = ("suffix", "logit_bias", "presence_penalty", "frequency_penalty")


def _whole(value: object) -> object:
    """A number such as 16.0, as some languages write whole numbers, as a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Comes after the bounds of a number, so that these are in its schema.
WHOLE = BeforeValidator(_whole)

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
    max_tokens: Annotated[int, Field(ge=0, le=LONGEST_TEXT), WHOLE] | None = Field(
        None,
        description="Characters to write, at most, as --length of textgen sample. 0 only with echo. "
        "By default what the server was started with.",
    )
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="0 takes the likeliest token. By default the run's own."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="0 takes the likeliest token. By default the run's own."
    )
    top_k: Annotated[int, Field(ge=-1, lt=2**31), WHOLE] | None = Field(
        None, description="0 and -1 keep all tokens. By default the run's own."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="By default the run's own.")
    repetition_penalty: Annotated[float, Field(ge=1e-3, le=1e3)] | None = Field(
        None, description="By default the run's own."
    )
    sampler: Annotated[str, Field(max_length=LONGEST_CHAIN)] | None = Field(
        None, description="A whole sampler chain, instead of the five numbers above."
    )
    n: Annotated[int, Field(ge=1, le=MOST_TEXTS), WHOLE] | None = Field(
        None, description="Texts per prompt, by default 1."
    )
    best_of: Annotated[int, Field(ge=1, le=MOST_TEXTS), WHOLE] | None = Field(
        None, description="Texts to write per prompt, of which the n likeliest per token are returned."
    )
    seed: Annotated[int, Field(ge=0, lt=2**64), WHOLE] | None = Field(
        None, description="The same seed gives the same text. By default a new one, which textgen.seed reports."
    )
    row: Annotated[int, Field(ge=0, lt=2**63), WHOLE] | None = Field(
        None, description="The number of the first text of the seed, by default 0; the others follow."
    )
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = Field(
        None, description="Texts that end a text. By default the run's own."
    )
    include_stop_str_in_output: bool | None = Field(None, description="Whether the stop text is part of the text.")
    ignore_eos: bool | None = Field(None, description="Continue after the end of a document.")
    echo: bool | None = Field(None, description="Return the prompt, too, before the text.")
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = Field(
        None,
        description="Return the log-probability of each token (nats, temperature 1), and of so many likeliest tokens.",
    )
    stream: bool | None = Field(None, description="Send the text while it is written, as server-sent events.")
    stream_options: StreamOptions | None = Field(None, description="Only with stream.")
    stream_interval: Annotated[int, Field(ge=1, le=LONGEST_TEXT), WHOLE] | None = Field(
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
        raise _explained(kind, error) from None
    if strict and (unknown := _unknown_field(body)) is not None:
        raise RequestError(400, f"there is no field {unknown!r}", param=unknown)
    return body


def _unknown_field(body: Body) -> str | None:
    """The first field of a body, or of a field with fields of its own, that there is not."""
    if body.model_extra:
        return next(iter(body.model_extra))[:100]
    for name in type(body).model_fields:
        value = getattr(body, name)
        if isinstance(value, Body) and (inner := _unknown_field(value)) is not None:
            return f"{name}.{inner}"
    return None


def _explained(kind: type[Body], error: ValidationError) -> RequestError:
    """What is wrong with a body, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(400, f"the body is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    if not first["loc"]:
        return RequestError(400, "the body must be a JSON object")
    schema = _schema(kind)
    name = param = str(first["loc"][0])
    field = schema["properties"][name]
    if (found := _reference(field)) is not None and len(first["loc"]) > 1:
        name = str(first["loc"][1])
        param, field = f"{param}.{name}", schema["$defs"][found]["properties"][name]
    expected = _PROMPTS if kind is CompletionRequest and param == "prompt" else _expected(field)
    verb = "is missing; it must be" if first["type"] == "missing" else "must be"
    return RequestError(400, f"{param} {verb} {expected}", param=param)


#: What the schema of a prompt says, in fewer words.
_PROMPTS = (
    f"a text of at most {LONGEST_PROMPT:,} characters, a list of 1 to {LONGEST_PROMPT:,} ids, "
    f"or a list of 1 to {MOST_PROMPTS:,} of either"
)


@cache
def _schema(kind: type[Body]) -> Mapping[str, Any]:
    return kind.model_json_schema()


def _reference(schema: Mapping[str, Any]) -> str | None:
    """The name of the definition that a field refers to; ``None`` if it refers to none."""
    references = [each["$ref"] for each in schema.get("anyOf", [schema]) if "$ref" in each]
    return references[0].rpartition("/")[2] if references else None


def _expected(schema: Mapping[str, Any]) -> str:
    """What a JSON schema asks for, in words."""
    if "anyOf" in schema:
        return ", or ".join(_expected(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        *most, last = map(json.dumps, schema["enum"])
        return f"{', '.join(most)} or {last}"
    kind = schema.get("type", "object")
    if kind in ("integer", "number"):
        most = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1
        whole = "whole " if kind == "integer" else ""
        return f"a {whole}number from {_shown(schema['minimum'])} to {_shown(most)}"
    if kind == "string":
        return f"a text of at most {schema['maxLength']:,} characters" if "maxLength" in schema else "a text"
    if kind == "array":
        return f"a list of at most {schema['maxItems']:,}, each {_expected(schema['items'])}"
    return "true or false" if kind == "boolean" else "an object"


def _shown(number: float) -> str:
    return f"{int(number) if float(number).is_integer() else number:,}"
