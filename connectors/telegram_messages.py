"""Telegram's updates → what a customer said; a bot's message → calls of the Bot API. Pure: nothing is sent here.

Invariant: every function returns something usable or nothing; a strange update or body is left out, never raised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from connectors.base import (
    Buttons,
    ChannelLimits,
    Delivered,
    DeliveryUnknown,
    Image,
    OutboundMessage,
    QuickReplies,
    RetryLater,
    SendResult,
    Text,
    Undeliverable,
)
from connectors.payloads import carried_payload
from connectors.rendering import degrade, parts, split_text

LIMITS = ChannelLimits(max_text_chars=4_096, max_inbound_chars=4_096, max_buttons=100, has_cards=False)
MAX_PAYLOAD_BYTES, MAX_CAPTION_CHARS = 64, 1_024
_WITHOUT_IMAGES = replace(LIMITS, has_images=False)
_COMMAND = re.compile(r"/(?P<name>\w+)(?:@(?P<bot>\w+))?(?!\S)\s*(?P<rest>.*)", re.DOTALL)
_FILES = ("photo", "voice", "audio", "video", "animation", "document")  # an animation comes as a document too
_FILE_FIELDS = {"file_id": "file_id", "name": "file_name", "media_type": "mime_type", "size": "file_size"}

Call = tuple[str, dict[str, Any]]
"""A method of the Bot API and its parameters."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one update says. `text` is as typed, or what the pressed button carries; `place` its message's number."""

    update: int
    place: int
    chat: int
    text: str
    files: list[dict[str, Any]]
    language: str | None


def read_update(update: Mapping[str, Any]) -> Said | None:
    """A person's message or pressed button; None for whatever else Telegram tells."""
    pressed, message = update.get("callback_query"), update.get("message")
    if isinstance(pressed, Mapping):
        text, files, who, message = pressed.get("data"), [], pressed.get("from"), pressed.get("message")
    elif isinstance(message, Mapping):
        text, files, who = _text(message), _attachments(message), message.get("from")
    else:
        return None
    match update, message, who:
        case {"update_id": int(number)}, {"message_id": int(place), "chat": {"id": int(chat)}}, {
            "is_bot": False,
            **person,
        }:
            language = str(person.get("language_code") or "").partition("-")[0] or None
            return Said(update=number, place=place, chat=chat, text=str(text or ""), files=files, language=language)
    return None


def plain_command(text: str, start_text: str, username: str) -> str:
    """A command without the bot's name; /start says `start_text`, and what is for another bot of a group nothing."""
    if (command := _COMMAND.fullmatch(text)) is None:
        return text
    if command["bot"] and username and command["bot"].lower() != username.lower().lstrip("@"):
        return ""
    return start_text if command["name"] == "start" else f"/{command['name']} {command['rest']}".strip()


def _text(message: Mapping[str, Any]) -> str:
    match message:
        case {"text": str(text)} | {"caption": str(text)}:
            return text
        case {"location": {"longitude": float() | int() as lng, "latitude": float() | int() as lat}}:
            return json.dumps({"lng": lng, "lat": lat})  # as Rasa words it
    return ""


def _attachments(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What came beside the text; no address, for that would hold the access token."""
    kind = next((kind for kind in _FILES if message.get(kind)), "")
    found = message.get(kind)
    found = found[-1] if isinstance(found, list) else found  # of a photo's sizes the largest
    if not isinstance(found, Mapping):
        return []
    return [{"type": kind} | {ours: found[theirs] for ours, theirs in _FILE_FIELDS.items() if theirs in found}]


# ---- us → Telegram ----


def calls(message: OutboundMessage, webhook_url: str) -> Iterator[Call]:
    """The calls that show a message, in order, without `chat_id`. Paths are on the host of `webhook_url`."""
    for part in parts(message.body):
        for shown in degrade(part, LIMITS):
            if isinstance(shown, Buttons | QuickReplies):
                yield from _with_keyboard(shown, message, webhook_url)
            elif isinstance(shown, Image) and (url := _address(shown.url, webhook_url)) is not None:
                yield "sendPhoto", {"photo": url, "caption": shown.alt[:MAX_CAPTION_CHARS]}
            else:
                for text in degrade(shown, _WITHOUT_IMAGES):
                    assert isinstance(text, Text)
                    yield "sendMessage", {"text": text.text}


def without_photo(call: Mapping[str, Any]) -> Call:
    """In the place of a picture that Telegram could not fetch: its address, which the customer may open."""
    text = f"{call['caption']}\n{call['photo']}".strip()
    return "sendMessage", {"chat_id": call["chat_id"], "text": text}


def outcome(answer: Mapping[str, Any]) -> SendResult:
    """What the Bot API's answer means for the message."""
    why = f"{answer.get('error_code')}: {answer.get('description')}"
    match answer:
        case {"ok": True, "result": {"message_id": int(number)}}:
            return Delivered(external_ref=str(number))
        case {"ok": True}:
            return Delivered()
        case {"error_code": 429, "parameters": {"retry_after": int(seconds)}}:
            return RetryLater(reason=why, after_s=seconds)
        case {"error_code": 401 | 404 | 429}:  # 401, 404: the token is wrong, which can still be mended
            return RetryLater(reason=why)
        case {"error_code": int(code)} if code < 500:  # 403: the customer has blocked the bot
            return Undeliverable(reason=why)
    return DeliveryUnknown(reason=why)


def _with_keyboard(shown: Buttons | QuickReplies, message: OutboundMessage, webhook_url: str) -> Iterator[Call]:
    rows, lines = [], [shown.text.strip()]
    for button in shown.buttons:
        if button.url is None:
            carried = carried_payload(button, message, MAX_PAYLOAD_BYTES)
            rows.append([{"text": button.title, "callback_data": carried}])
        elif (url := _address(button.url, webhook_url)) is not None:
            rows.append([{"text": button.title, "url": url}])
        else:  # a telephone number, a mail address: Telegram makes links of them in a text
            lines.append(f"{button.title}: {button.url}")
    *first, last = split_text("\n".join(filter(None, lines)) or "…", LIMITS)
    yield from (("sendMessage", {"text": text}) for text in first)
    yield "sendMessage", {"text": last} | ({"reply_markup": {"inline_keyboard": rows}} if rows else {})


def _address(url: str, webhook_url: str) -> str | None:
    """The whole address, where it is one that Telegram's servers can open."""
    if url.startswith("//"):
        url = f"https:{url}"
    elif url.startswith("/"):
        url = urljoin(webhook_url, "/") + url[1:]
    return url if url.startswith(("https://", "http://")) else None
