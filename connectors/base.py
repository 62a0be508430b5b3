"""What a channel is: the messages that pass, the ports it is given, the limits it declares. No database, no models.

Invariant: a connector acknowledges only after `Ports.receive` returned; it renders only the rich-message schema below.

ConnectorError
├── BadRequest        malformed payload: 400, nothing stored
├── Unauthorized      signature or token wrong: 401/403, uniform answer
└── TooBusy           back-pressure: 429/503 with Retry-After
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from connectors.files import FileStore

SCHEMA_VERSION = 1


class ConnectorError(Exception):
    """A channel could not take or give a message."""

    http_status = 500
    retry_after_s: float | None = None


class BadRequest(ConnectorError):
    """The payload is malformed."""

    http_status = 400


class Unauthorized(ConnectorError):
    """The request is not authentic."""

    http_status = 401


class TooBusy(ConnectorError):
    """Too much waits already."""

    http_status = 503
    retry_after_s = 2.0


# ---- the one rich-message schema (closed, versioned union) ----


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Button(_Part):
    """`payload` is sent back as the customer's message ("/intent{…}" or text); `url` opens a page instead."""

    title: str
    payload: str | None = None
    url: str | None = None


class Text(_Part):
    type: Literal["text"] = "text"
    text: str


class Buttons(_Part):
    type: Literal["buttons"] = "buttons"
    text: str = ""
    buttons: tuple[Button, ...]


class QuickReplies(_Part):
    """Buttons that disappear once one is used."""

    type: Literal["quick_replies"] = "quick_replies"
    text: str = ""
    buttons: tuple[Button, ...]


class Card(_Part):
    type: Literal["card"] = "card"
    title: str
    subtitle: str = ""
    image_url: str | None = None
    buttons: tuple[Button, ...] = ()


class Carousel(_Part):
    type: Literal["carousel"] = "carousel"
    cards: tuple[Card, ...]


class Image(_Part):
    type: Literal["image"] = "image"
    url: str
    alt: str = ""


class File(_Part):
    type: Literal["file"] = "file"
    url: str
    name: str
    media_type: str = "application/octet-stream"
    size: int | None = None  # bytes, where they are known


class Form(_Part):
    """A hint that the bot waits for one field; a channel may show an input of that kind."""

    type: Literal["form"] = "form"
    slot: str
    input: Literal["text", "email", "tel", "number", "date"] = "text"
    text: str = ""


class Rating(_Part):
    type: Literal["rating"] = "rating"
    text: str = ""
    max: int = 5


Part = Annotated[
    Text | Buttons | QuickReplies | Card | Carousel | Image | File | Form | Rating, Field(discriminator="type")
]


# ---- messages ----


@dataclass(frozen=True, kw_only=True)
class InboundMessage:
    """One thing a customer sent.

    Attributes:
        channel: "rest", "web", "slack", "wechat", …
        account: which shop/workspace/app of that channel; "" where there is one.
        external_id: unique per (channel, account); a repeat is the same message, stored and answered once.
        customer: the channel's id of the person (identity: channel, account, customer).
        thread: part of the person's conversations that this message belongs to; "" where there is one.
        sender_id: the conversation's public id (Rasa's sender_id); "web:…", "slack:…", "wechat:…", or as REST sent it.
        text: what was typed or a button's payload ("/intent{…}").
        metadata: Rasa's message metadata. `identity` in it is set by the platform only, after verification;
            `attachments` are files of this conversation (`connectors.files.attachment`).
        input_channel: the name Rasa's tracker carries ("rest", "web").
        command: what the company's own systems want done in the conversation instead of a message, in the order of its
            messages: `bot.worker` knows them. No channel of customers ever sets it.
    """

    channel: str
    account: str
    external_id: str
    customer: str
    sender_id: str
    text: str
    received_at: datetime
    thread: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    input_channel: str = ""
    language_hint: str | None = None
    command: Mapping[str, Any] | None = None


def storable_text(text: str) -> str:
    """The text without what no database holds: NUL is dropped, half an emoji (a lone surrogate) becomes "?"."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


PUSHED = ("slack", "wechat", "wechat_kf", "telegram")
"""Our channels that are pushed to; an answer to them is never left for a client to read."""
RESERVED_PREFIXES = ("web", *PUSHED)
MAX_ID_CHARS = 255
MAX_METADATA_DEPTH = 32  # far beyond any client's, far below what makes a JSON reader give up when it is read again


def check_inbound(message: InboundMessage) -> None:
    """Refuse a message that cannot be stored or would enter another channel's conversations.

    Raises:
        BadRequest: an id is empty, too long or not text, the sender_id carries another channel's prefix ("web:…"), or
            the metadata is nested too deeply.
    """
    ids = {"sender_id": message.sender_id, "external_id": message.external_id, "customer": message.customer}
    for name, value in ids.items():
        if not value:
            raise BadRequest(f"{name} is empty")
    for name, value in (ids | {"account": message.account, "thread": message.thread}).items():
        if len(value) > MAX_ID_CHARS:
            raise BadRequest(f"{name} has {len(value)} characters; at most {MAX_ID_CHARS} are allowed")
        if storable_text(value) != value:
            raise BadRequest(f"{name} is not valid text")
    check_prefix(message, RESERVED_PREFIXES)
    if message.metadata and _is_deeper(message.metadata, MAX_METADATA_DEPTH):
        raise BadRequest(f"metadata is nested more than {MAX_METADATA_DEPTH} levels deep")


def check_prefix(message: InboundMessage, channels: Collection[str]) -> None:
    """Raises BadRequest where the sender_id begins with another of these channels' names and a colon."""
    prefix, colon, _ = message.sender_id.partition(":")
    if colon and prefix in channels and prefix != message.channel:
        raise BadRequest(f'sender_id: the prefix "{prefix}:" belongs to another channel; send another sender_id')


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value.values())
    if isinstance(value, list | tuple):
        return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value)
    return False


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that an inbound message is stored: `seq` is its place in the conversation's transcript (1, 2, …)."""

    inbound_id: int
    conversation_id: int
    seq: int
    is_duplicate: bool


Author = Literal["customer", "bot", "operator", "system"]


@dataclass(frozen=True, kw_only=True)
class OutboundMessage:
    """One transcript entry as a channel reads it: a bot's (or operator's) message, or an echo of the customer's own.

    `body` is Rasa's bot message: {"text": …, "buttons": […], "image": …, "custom": {…}, …}, only the fields that are
    set; `connectors.rendering.parts` turns it into the rich-message schema. `client_id` is set on customer entries: the
    external_id they came with.
    """

    outbox_id: int | None
    conversation_id: int
    sender_id: str
    seq: int
    author: Author
    body: Mapping[str, Any]
    created_at: datetime
    in_reply_to: int | None = None
    client_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """More of this reply will follow, in a message of its own."""
        return bool(self.author == "bot" and self.metadata.get("more"))

    @property
    def continues(self) -> Mapping[str, Any] | None:
        """Where it is more of a reply: the `seq` at which that began, and what text it is `joined_by`."""
        return self.metadata.get("continues") if self.author == "bot" else None


@dataclass(frozen=True, kw_only=True)
class Delivered:
    external_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class RetryLater:
    reason: str
    after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryUnknown:
    """The channel may or may not have it and cannot be asked; never blindly resent."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Undeliverable:
    reason: str


SendResult = Delivered | RetryLater | DeliveryUnknown | Undeliverable


@dataclass(frozen=True, kw_only=True)
class ChannelLimits:
    """What a channel can show; rendering degrades to it. `max_text_chars` counts `text_unit`s."""

    max_text_chars: int = 4_000
    max_inbound_chars: int = 4_000
    text_unit: Literal["characters", "utf8_bytes"] = "characters"
    max_buttons: int = 10
    has_buttons: bool = True
    has_images: bool = True
    has_cards: bool = True


# ---- ports: what the platform gives a connector ----


class ChannelState(Protocol):
    """Small durable values of one channel (cursors, tokens), with single-flight leases across processes."""

    async def get(self, key: str) -> str | None: ...

    async def compare_and_set(self, key: str, expected: str | None, value: str) -> bool: ...

    async def take(self, key: str) -> str | None:
        """Remove the value and return it; of several takers one gets it."""
        ...

    async def lease(self, key: str, holder: str, ttl_s: float) -> bool:
        """True when `holder` holds `key` until now + ttl_s (also renews)."""
        ...


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """A connector's own value, committed together with the batch of messages it belongs to."""

    key: str
    value: str


class Ports(Protocol):
    """In-memory and SQL implementations pass one contract suite (tests/contract)."""

    @property
    def state(self) -> ChannelState: ...

    @property
    def files(self) -> FileStore | None:
        """None where this process keeps no files."""
        ...

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        """Store the messages and the state in one commit. Returns only when it is durable.

        Raises TooBusy when too much waits. A sender_id owned by another channel is a BadRequest.
        """
        ...

    async def wait_for_reply(self, inbound_id: int, deadline_s: float) -> list[OutboundMessage] | None:
        """The bot's messages for this inbound one, in order.

        [] when the turn said nothing; None when it is not done in time.
        """
        ...

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        """Entries (customer, bot, operator) with seq > after_seq, in order, without gaps.

        A command (see InboundMessage) takes a number too: an entry of the system without a body.
        """
        ...

    async def last_seq(self, sender_id: str) -> int:
        """0 for a conversation that does not exist."""
        ...

    async def confirm(self, sender_id: str, up_to_seq: int) -> None:
        """The client has everything up to this seq: mark those outbox rows delivered."""
        ...

    async def collect(self, sender_id: str, reference: str) -> list[OutboundMessage]:
        """Take what waits to be pushed in this conversation: the caller hands it over himself, as `reference`.

        What was collected under the same reference before comes again, in front: the same request may be repeated.
        """
        ...

    async def pending(self, sender_id: str, after_seq: int = 0) -> list[OutboundMessage]:
        """What waits to be pushed in this conversation or is on its way, in order."""
        ...

    async def doubt(self, sender_id: str, reference: str, reason: str | None) -> None:
        """Of what was collected as `reference` a part may not have reached the customer: an operator sees all of it as
        "unknown", with this reason. None: the customer has it after all."""
        ...

    async def hasten(self, sender_id: str) -> None:
        """What waits to be pushed in this conversation need not wait for its time any longer: the customer is back."""
        ...

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call `wake("message" | "typing")` on news of the conversation, on this event loop.

        A hint only: the transcript is the truth.
        Returns the function that unsubscribes.
        """
        ...


@runtime_checkable
class Connector(Protocol):
    """One channel. Its customers read the transcript themselves, unless it is a `PushConnector`.

    With a class attribute `streams = True` it shows the parts of a reply that is said while it is written as one:
    `OutboundMessage.continues`, `goes_on`.
    """

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> ChannelLimits: ...

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """Called once in every process, before anything else: here a connector gets its ports. A process that only
        works does not serve them."""
        ...


@runtime_checkable
class PushConnector(Connector, Protocol):
    """A channel that messages are sent to: the outbox worker calls `send`, per conversation one at a time, in order.

    Attributes:
        can_repeat: the channel has an idempotency key, or can be asked what it has. Where it is False, a message whose
            sender died is never sent again; an operator sees it as "unknown".
        hold_s: how long after a customer's message the answer is kept back for `Ports.collect`.
    """

    @property
    def can_repeat(self) -> bool: ...

    @property
    def hold_s(self) -> float: ...

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """`is_repeat`: it was tried before, and the channel may have it already."""
        ...


@runtime_checkable
class Background(Protocol):
    """A connector with work of its own beside its routes: a socket to the platform, a cursor to follow."""

    async def run(self, ports: Ports) -> None:
        """Work until cancelled. Several processes may run it at once (`ChannelState.lease`)."""
        ...
