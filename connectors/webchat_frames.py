"""The web chat's frames: what a client may send, parsed and refused in one place, and the codes that say why.

docs/webchat-protocol.md is the description for people; a test compares the two.

Invariant: `parse_frame` raises nothing but `FrameError`, whatever the bytes are.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from connectors.base import BadRequest
from connectors.inbound import TooLong, clean_text, customer_metadata, message_text, parse_json_object

PROTOCOL = 1
MAX_FRAME_BYTES = 65_536
MAX_ATTACHMENTS = 5
MAX_CONTEXT_BYTES = 4_096

ErrorCode = Literal[
    "bad_frame",  # not JSON, an unknown type, a field missing or of the wrong kind
    "frame_too_large",  # more than 64 KB
    "too_long",  # the message has too many characters
    "unsupported_protocol",  # the server speaks another version
    "expected_hello",  # another frame came first, a second hello came, or none came in time
    "identity_invalid",  # the identity token was refused; the chat goes on without it
    "identity_required",  # this server talks to signed-in customers only, and this is none (any more)
    "rate_limited",  # too many frames; send again after retry_after_s
    "busy",  # too many messages wait; send again after retry_after_s
    "refused",  # this message cannot be taken, now or later
    "unavailable",  # the server failed; send again after retry_after_s
]


class FrameError(Exception):
    """A frame cannot be used."""

    def __init__(self, code: ErrorCode, message: str, client_msg_id: str | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.client_msg_id = client_msg_id


class _Frame(BaseModel):
    # Unknown fields are ignored, so that a newer widget can talk to an older server.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Hello(_Frame):
    """Opens or resumes a conversation. `history`: how many earlier entries to send when `resume_from` is 0 (all)."""

    type: Literal["hello"]
    protocol: int
    visitor: str | None = Field(default=None, max_length=200)
    resume_from: int = Field(default=0, ge=0, lt=2**53)
    history: int | None = Field(default=None, ge=0, le=10_000)
    language: str | None = Field(default=None, max_length=35)
    identity: str | None = Field(default=None, max_length=4_096)


class Send(_Frame):
    """A customer's message: typed `text`, or a button's `payload` with the `title` the customer saw.

    `language` is the widget's at that moment; a payload shows no language by itself. With `attachments`, ids that
    uploads answered, there may be no words at all. `context` is what the page or the form before the chat knows: the
    customer's own word, never proof of anything.
    """

    type: Literal["send"]
    client_msg_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    text: str | None = None
    payload: str | None = None
    title: str | None = Field(default=None, max_length=200)
    language: str | None = Field(default=None, max_length=35)
    attachments: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=MAX_ATTACHMENTS)
    context: dict[str, Any] | None = None

    def content(self, max_chars: int) -> str:
        """What the customer wrote or pressed; "" only where files say it. Raises FrameError when it is empty, double or
        too long."""
        if self.attachments and self.payload is not None:
            raise FrameError("bad_frame", "`attachments` go with `text`, not with `payload`", self.client_msg_id)
        if self.attachments and not clean_text(self.text or "").strip():
            return ""
        if (self.text is None) == (self.payload is None):
            raise FrameError("bad_frame", "exactly one of `text` and `payload` must be given", self.client_msg_id)
        field = "text" if self.text is not None else "payload"
        try:
            return message_text(getattr(self, field), field, max_chars)
        except TooLong as error:
            raise FrameError("too_long", str(error), self.client_msg_id) from error
        except BadRequest as error:
            raise FrameError("bad_frame", str(error), self.client_msg_id) from error

    def known_context(self) -> dict[str, Any]:
        """What the page told about this visit. Raises FrameError when it is too much or cannot be stored."""
        try:
            context = customer_metadata(self.context)
        except BadRequest as error:
            raise FrameError("bad_frame", str(error).replace("`metadata`", "`context`"), self.client_msg_id) from error
        if len(json.dumps(context)) > MAX_CONTEXT_BYTES:
            raise FrameError("bad_frame", f"`context` may have {MAX_CONTEXT_BYTES} bytes as JSON", self.client_msg_id)
        return context

    def shown_title(self) -> str:
        return clean_text(self.title or "").strip()


class Seen(_Frame):
    """The client has everything up to this seq."""

    type: Literal["seen"]
    seq: int = Field(ge=0, lt=2**53)


class Identify(_Frame):
    """The shop's identity token, when the customer signs in while the chat is open."""

    type: Literal["identify"]
    identity: str = Field(max_length=4_096)


class Ping(_Frame):
    type: Literal["ping"]


ClientFrame = Annotated[Hello | Send | Seen | Identify | Ping, Field(discriminator="type")]
_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)


def primary_language(tag: str | None) -> str | None:
    """The primary language of a BCP 47 tag: zh-Hans-CN → zh. None when it is no such tag."""
    primary = (tag or "").replace("_", "-").partition("-")[0].lower()
    return primary if 2 <= len(primary) <= 3 and primary.isascii() and primary.isalpha() else None


def parse_frame(raw: str) -> ClientFrame:
    """Read one text frame."""
    # Half a surrogate pair cannot come over a real socket, but it must not end in a crash either.
    if len(raw.encode(errors="surrogatepass")) > MAX_FRAME_BYTES:
        raise FrameError("frame_too_large", f"a frame may have at most {MAX_FRAME_BYTES} bytes")
    try:
        value = parse_json_object(raw)
    except BadRequest as error:
        raise FrameError("bad_frame", str(error).replace("the body", "the frame")) from error
    try:
        return _FRAME.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(step) for step in problem["loc"][1:]) or "type"
        raise FrameError("bad_frame", f"`{field}`: {problem['msg']}", _id_of(value)) from error


def _id_of(value: dict[str, Any]) -> str | None:
    """The message an error is about, so that the client can mark it failed."""
    found = value.get("client_msg_id")
    return found if isinstance(found, str) and len(found) <= 64 else None
