"""The signature of a continuation, which a client keeps for the server."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from textgen_serve.protocol.errors import RequestError


class Seal:
    """Signs what a client keeps for the server, so that it comes back unchanged (HMAC-SHA-256, RFC 2104).

    Args:
        secret: from which the key is derived; instances with the same one accept each other's signatures.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"textgen continuation", "sha256")

    def seal(self, content: bytes) -> str:
        """The content with its signature, as text that a URL can hold."""
        return urlsafe_b64encode(self._signature(content) + content).decode().rstrip("=")

    def open(self, sealed: str) -> bytes:
        """The content.

        Raises:
            RequestError: if it was not signed with this key.
        """
        try:
            raw = urlsafe_b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4))
        except ValueError:
            raw = b""
        signature, content = raw[:32], raw[32:]
        if not hmac.compare_digest(signature, self._signature(content)):
            raise RequestError(
                400,
                "the continuation is not one of this server's: it was altered, or signed with another secret",
                param="continuation",
            )
        return content

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")
