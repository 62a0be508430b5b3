"""Who comes in: the signatures over WeChat's requests, the body's size, the envelope.

Invariant: nothing of a request is believed before its signature held, and no more than `MAX_BODY_BYTES` of its body is
ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from connectors.wechat_crypto import MessageCipher, Rejected, is_signed
from connectors.wechat_xml import Fields, field, parse_fields

MAX_BODY_BYTES = 65_536
MAX_PARAMETER_CHARS = 512
MAX_TIMESTAMP_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Letter:
    """An authentic request's fields."""

    fields: Fields
    is_encrypted: bool


class Door:
    """Checks one callback address.

    Args:
        cipher: None where messages come in plain text only.
        takes_plaintext: whether a message without an envelope is believed. Its signature does not cover the body, so
            an address in safe mode takes none.
        window_s: how far a request's timestamp may be from now; 0 for any.
    """

    def __init__(
        self,
        *,
        token: str,
        cipher: MessageCipher | None,
        takes_plaintext: bool,
        window_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._token, self._cipher = token, cipher
        self._takes_plaintext, self._window_s, self._clock = takes_plaintext, window_s, clock

    def echo(self, query: Mapping[str, str]) -> str:
        """The answer to the check of an Official Account's address. Raises Rejected."""
        self._check_signature(query, "signature")
        return _parameter(query, "echostr")

    def echo_encrypted(self, query: Mapping[str, str]) -> str:
        """The answer to WeCom's check: `echostr` is an envelope. Raises Rejected."""
        encrypted = query.get("echostr", "")
        self._check_signature(query, "msg_signature", encrypted)
        return self._decrypted(encrypted)

    async def open(self, request: Request) -> Letter:
        """The message in a request. Raises Rejected."""
        query = request.query_params
        is_encrypted = query.get("encrypt_type") == "aes" or ("msg_signature" in query and "signature" not in query)
        if is_encrypted:
            if "signature" in query:  # it covers no body, but it tells strangers before theirs is read
                self._check_signature(query, "signature")
            outer = parse_fields(await _body(request))
            encrypted = field(outer, "Encrypt")
            self._check_signature(query, "msg_signature", encrypted)
            return Letter(fields=parse_fields(self._decrypted(encrypted)), is_encrypted=True)
        if not self._takes_plaintext or query.get("encrypt_type") not in (None, "", "raw"):
            raise Rejected("not authentic")
        self._check_signature(query, "signature")
        return Letter(fields=parse_fields(await _body(request)), is_encrypted=False)

    def _check_signature(self, query: Mapping[str, str], name: str, *signed: str) -> None:
        self._check_timestamp(query)
        nonce = _parameter(query, "nonce")
        if not is_signed(_parameter(query, name), self._token, query["timestamp"], nonce, *signed):
            raise Rejected("not authentic")

    def _check_timestamp(self, query: Mapping[str, str]) -> None:
        timestamp = _parameter(query, "timestamp")
        if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > MAX_TIMESTAMP_DIGITS:
            raise Rejected("not authentic")
        if self._window_s and abs(self._clock() - int(timestamp)) > self._window_s:
            raise Rejected("not authentic")

    def _decrypted(self, encrypted: str) -> str:
        if self._cipher is None:
            raise Rejected("not authentic")
        return self._cipher.decrypt(encrypted)


def _parameter(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if not value or len(value) > MAX_PARAMETER_CHARS:
        raise Rejected("not authentic")
    return value


async def _body(request: Request) -> bytes:
    """The request's bytes, if they are not too many: what is announced too long is not read at all."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 20 and int(announced) > MAX_BODY_BYTES:
        raise Rejected("not authentic")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Rejected("not authentic")
        chunks.append(chunk)
    return b"".join(chunks)
