"""What the server answers: the fields of the bodies of successes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


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

    run: str = Field(description="The name of its folder, as textgen sample takes it.")
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
