"""What WeChat reports of a customer → one neutral message, or nothing that the bot has to read.

Invariant: the three tries of one delivery have one `external_id`; what is not known here is an arrival without a
message, never an error.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from connectors.base import MAX_ID_CHARS, InboundMessage
from connectors.inbound import clean_text
from connectors.wechat_crypto import Rejected
from connectors.wechat_xml import Fields, field

CHANNEL = "wechat"
SENDER_PREFIX = "wechat:"
Allowance = Literal["message", "event"]
"""Which kind of contact lets the account send customer-service messages again."""

MAX_TEXT_CHARS = 4_000
"""WeChat lets nobody type more; what is longer is cut, since WeChat shows customers no refusal."""
_MEDIA = {"image": "[图片]", "voice": "[语音]", "video": "[视频]", "shortvideo": "[视频]"}
_EVENTS_THAT_ALLOW = frozenset({"subscribe", "scan", "click"})
_TAP = re.compile(r"kefu\.(answer|more)\.(\d{1,18})")
_NUMBER = re.compile(r"[(\[]?(\d{1,2})[)\].、。]?")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One delivery of WeChat.

    Attributes:
        kind: its MsgType, or "event:" and the event's name, in lower case.
        message: what the bot reads; None where there is nothing for it.
        allowance: what this contact lets the account send; None for what the customer did not do himself.
        menu_id: which entry of a menu message was tapped; "" for none.
    """

    kind: str
    customer: str
    account_name: str
    message: InboundMessage | None
    allowance: Allowance | None
    menu_id: str = ""

    @property
    def sender_id(self) -> str:
        return SENDER_PREFIX + self.customer

    @property
    def is_event(self) -> bool:
        return self.kind.startswith("event:")


def read_arrival(
    fields: Fields, *, account: str, texts: Mapping[str, str], language: str | None, now: datetime
) -> Arrival:
    """The neutral form of one delivery.

    Args:
        texts: what the bot reads instead, by kind ("image", "subscribe"); "" for nothing.

    Raises Rejected where the names that every delivery carries are missing.
    """
    customer, account_name = _name(fields, "FromUserName"), _name(fields, "ToUserName")
    kind, external_id = _identity(fields, customer)
    message = None
    text = clean_text(_text(fields, kind, texts)).strip()[:MAX_TEXT_CHARS]
    if text:
        message = InboundMessage(
            channel=CHANNEL,
            account=account,
            external_id=external_id,
            customer=customer,
            sender_id=SENDER_PREFIX + customer,
            text=text,
            received_at=now,
            metadata=_metadata(fields, kind),
            input_channel=CHANNEL,
            language_hint=language,
        )
    is_event = kind.startswith("event:")
    allowance: Allowance | None = None
    if not is_event:
        allowance = "message"
    elif kind.removeprefix("event:") in _EVENTS_THAT_ALLOW:
        allowance = "event"
    return Arrival(
        kind=kind,
        customer=customer,
        account_name=account_name,
        message=message,
        allowance=allowance,
        menu_id=field(fields, "bizmsgmenuid"),
    )


def tapped_wait(menu_id: str) -> int | None:
    """The inbound id whose answer a tap asks for: on the link of the last try, or on "more"."""
    tapped = _TAP.fullmatch(menu_id)
    return int(tapped[2]) if tapped else None


def typed_number(text: str) -> int | None:
    """The number that a reply consists of ("2", "２.", "(2)"); None for any other text."""
    found = _NUMBER.fullmatch(unicodedata.normalize("NFKC", text).strip())
    return int(found[1]) if found else None


def _name(fields: Fields, name: str) -> str:
    value = field(fields, name).strip()
    if not value or len(value) > MAX_ID_CHARS - len(SENDER_PREFIX) or clean_text(value) != value:
        raise Rejected("not authentic")
    return value


def _identity(fields: Fields, customer: str) -> tuple[str, str]:
    """Kind and key. WeChat numbers messages; of an event it says that sender and second (and what happened) name it."""
    kind = field(fields, "MsgType").strip().lower()
    if kind != "event":
        message_id = field(fields, "MsgId").strip()
        key = f"msg:{message_id}" if message_id else _hashed("msg", fields, customer, "CreateTime", "Content")
        return kind[:64], key if len(key) <= MAX_ID_CHARS else _hashed("msg", fields, customer, "MsgId")
    event = field(fields, "Event").strip().lower()[:64]
    return f"event:{event}", _hashed("event", fields, customer, "CreateTime", "Event", "EventKey")


def _hashed(what: str, fields: Fields, customer: str, *names: str) -> str:
    values = "\n".join([customer, *(field(fields, name) for name in names)])
    return f"{what}:{hashlib.sha256(values.encode(errors='replace')).hexdigest()}"


# ---- what the bot reads ----


def _text(fields: Fields, kind: str, texts: Mapping[str, str]) -> str:
    name = kind.removeprefix("event:")
    if name in texts:
        return texts[name]
    match kind:
        case "text":
            return field(fields, "Content")
        case "voice":
            return field(fields, "Recognition") or _MEDIA["voice"]
        case "image" | "video" | "shortvideo":
            return _MEDIA[kind]
        case "location":
            place = f"{field(fields, 'Location_X')},{field(fields, 'Location_Y')}"
            return f"[位置] {field(fields, 'Label')} ({place})".replace("  ", " ")
        case "link":
            return f"{field(fields, 'Title')} {field(fields, 'Url')}"
        case "event:click":
            return field(fields, "EventKey")
    return ""


def is_known(kind: str) -> bool:
    """Whether a delivery of this kind is expected, even where the bot has nothing to read."""
    return kind in _KNOWN or kind.startswith(("event:kf_", "event:pic_", "event:scancode_"))


_KNOWN = frozenset({"text", "voice", "location", "link", *_MEDIA}) | {
    f"event:{name}"
    for name in (
        *("subscribe", "unsubscribe", "scan", "location", "click", "view", "view_miniprogram", "location_select"),
        *("templatesendjobfinish", "masssendjobfinish", "user_authorize_revoke"),
    )
}


def _metadata(fields: Fields, kind: str) -> dict[str, Any]:
    """`wechat`: the delivery's own fields, less the text; `attachments`: what was sent beside the text."""
    left_out = {"ToUserName", "FromUserName", "Content", "Encrypt"}
    own = {name: _cleaned(value) for name, value in fields.items() if name not in left_out}
    attachment = _attachment(fields, kind)
    return {"wechat": own, **({"attachments": [attachment]} if attachment else {})}


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _cleaned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    return clean_text(value)


_ATTACHED: Mapping[str, Mapping[str, str]] = {
    "image": {"url": "PicUrl", "media_id": "MediaId"},
    "voice": {"media_id": "MediaId", "format": "Format"},
    "video": {"media_id": "MediaId", "thumbnail_id": "ThumbMediaId"},
    "shortvideo": {"media_id": "MediaId", "thumbnail_id": "ThumbMediaId"},
    "location": {"latitude": "Location_X", "longitude": "Location_Y", "scale": "Scale", "label": "Label"},
    "link": {"url": "Url", "title": "Title", "description": "Description"},
}


def _attachment(fields: Fields, kind: str) -> dict[str, str] | None:
    names = _ATTACHED.get(kind)
    if names is None:
        return None
    return {"type": kind, **{ours: clean_text(field(fields, theirs)) for ours, theirs in names.items()}}
