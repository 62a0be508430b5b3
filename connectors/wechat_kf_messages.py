"""What `kf/sync_msg` reports → neutral messages. A cursor's page is read here; pulling it is wechat_kf.py's.

Invariant: a strange entry is left out with a line in the log; a page is never lost for one of its entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.base import MAX_ID_CHARS, InboundMessage
from connectors.inbound import clean_text
from connectors.wechat_messages import MAX_TEXT_CHARS

CHANNEL = "wechat_kf"
SENDER_PREFIX = "wechat_kf:"
FROM_CUSTOMER = 3
MAX_NAME_CHARS = 100
_TEXTS = {"image": "[图片]", "voice": "[语音]", "video": "[视频]", "file": "[文件]"}


@dataclass(frozen=True, kw_only=True)
class Address:
    """A customer at one of the company's KF accounts."""

    open_kfid: str
    customer: str

    @property
    def sender_id(self) -> str:
        return f"{SENDER_PREFIX}{self.open_kfid}:{self.customer}"

    @staticmethod
    def of(sender_id: str) -> Address:
        open_kfid, _, customer = sender_id.removeprefix(SENDER_PREFIX).partition(":")
        return Address(open_kfid=open_kfid, customer=customer)


@dataclass(frozen=True, kw_only=True)
class KfEntry:
    """A customer's message of a page, with the menu entry that was tapped ("" for none)."""

    message: InboundMessage
    menu_id: str


def read_kf_entry(
    entry: Mapping[str, Any], *, corp_id: str, texts: Mapping[str, str], language: str | None
) -> KfEntry | None:
    """None for what a customer did not write himself, or what the bot has nothing to read of."""
    kind = _text(entry, "msgtype")
    address = Address(open_kfid=_text(entry, "open_kfid"), customer=_text(entry, "external_userid"))
    message_id = _text(entry, "msgid")
    if entry.get("origin") != FROM_CUSTOMER or not all((address.open_kfid, address.customer, message_id)):
        return None
    if ":" in address.open_kfid or max(len(address.sender_id), len(message_id)) > MAX_ID_CHARS:
        return None
    said = entry.get(kind)
    content: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    text = clean_text(_read(kind, content, texts)).strip()[:MAX_TEXT_CHARS]
    if not text:
        return None
    message = InboundMessage(
        channel=CHANNEL,
        account=corp_id,
        external_id=message_id,
        customer=f"{address.open_kfid}:{address.customer}",
        sender_id=address.sender_id,
        text=text,
        received_at=datetime.now(UTC),
        metadata=_metadata(entry, kind, content),
        input_channel=CHANNEL,
        language_hint=language,
    )
    return KfEntry(message=message, menu_id=_text(content, "menu_id"))


def _read(kind: str, content: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    if kind in texts:
        return texts[kind]
    match kind:
        case "text":
            return _text(content, "content")
        case "location":
            place = f"{content.get('latitude', '')},{content.get('longitude', '')}"
            return f"[位置] {_text(content, 'name')} {_text(content, 'address')} ({place})".replace("  ", " ")
        case "link":
            return f"{_text(content, 'title')} {_text(content, 'url')}"
        case "miniprogram":
            return f"[小程序] {_text(content, 'title')}"
    return _TEXTS.get(kind, "")


def _metadata(entry: Mapping[str, Any], kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: entry[name] for name in ("msgid", "open_kfid", "send_time", "msgtype") if name in entry}
    if kind == "text":
        return {"wechat": own}
    plain = {name: clean_text(str(value)) for name, value in content.items() if isinstance(value, str | int | float)}
    return {"wechat": own, "attachments": [{"type": kind, **plain}]}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return clean_text(value) if isinstance(value, str) else ""
