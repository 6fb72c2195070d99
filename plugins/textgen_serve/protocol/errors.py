"""Errors that a client is told of: all have one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

#: Seconds after which a client may ask again if the server is full, or ends.
RETRY_AFTER = 1

#: The most characters of a message that an answer repeats.
_LONGEST_MESSAGE = 500

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
        super().__init__(status, message, type, param, code, headers)  # so that it can be pickled
        self.message = message
        self.status, self.headers = status, dict(headers or {})
        self.body = {"error": {"message": message[:_LONGEST_MESSAGE], "type": type, "param": param, "code": code}}

    def __str__(self) -> str:
        return self.message


def unavailable(message: str, code: str) -> RequestError:
    """The error of a server that cannot answer now; another one may, or its successor in a moment."""
    return RequestError(503, message, "unavailable_error", code=code, headers={"Retry-After": str(RETRY_AFTER)})


class ErrorDetails(BaseModel):
    """An error."""

    message: str
    type: ErrorType
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetails
