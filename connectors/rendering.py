"""Rasa's bot message → what a channel can show: the rich-message schema, Rasa's own REST objects, or plain text.

What a bot says may hold text that a customer typed or that a custom action fetched, so nothing in it is trusted here:
a URL passes only with a scheme a browser may open, and a `custom` payload only when it fits the schema.

Invariant: every function returns something sendable or nothing; a strange body is logged and left out, never raised.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import regex
from pydantic import TypeAdapter, ValidationError

from connectors.base import (
    Button,
    Buttons,
    Card,
    Carousel,
    ChannelLimits,
    File,
    Form,
    Image,
    Part,
    QuickReplies,
    Rating,
    Text,
)

log = logging.getLogger("kefu.rendering")

LINK_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
IMAGE_SCHEMES = frozenset({"http", "https"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# A browser drops tabs and line ends inside a URL and reads "\" as "/": "java\nscript:" must not pass as relative.
_HIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PART: TypeAdapter[Part] = TypeAdapter(Part)


# ---- the rich-message schema ----


def parts(body: Mapping[str, Any]) -> list[Part]:
    """Translate one bot message into the rich-message schema, in Rasa's sending order.

    Buttons without a title, unsafe URLs and unknown `custom` payloads are logged and left out.
    """
    found: list[Part] = []
    text = _string(body.get("text"))
    if buttons := _buttons(body.get("quick_replies")):
        found.append(QuickReplies(text=text, buttons=buttons))
    elif buttons := _buttons(body.get("buttons")):
        found.append(Buttons(text=text, buttons=buttons))
    elif text.strip():
        found.append(Text(text=text))
    found += _custom(body.get("custom"))
    if (image := _image(body.get("image"))) is not None:
        found.append(image)
    attachment = body.get("attachment")
    # Rasa stores an image a second time as `attachment`.
    if attachment and attachment != body.get("image"):
        found += _attachment(attachment)
    found += _cards(body.get("elements"))
    return found


def safe_url(value: object, schemes: frozenset[str] = LINK_SCHEMES) -> str | None:
    """The URL when it is relative or has one of the schemes, else None."""
    url = value.strip() if isinstance(value, str) else ""
    if not url or _HIDDEN.search(url) or not _can_be_split(url):
        return None
    if (scheme := _SCHEME.match(url)) is not None:
        return url if scheme[1].lower() in schemes else None
    # A colon before the first slash would be a scheme that we failed to read.
    return None if ":" in re.split(r"[/?#]", url, maxsplit=1)[0] else url


def _can_be_split(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:  # "http://[": whoever takes it apart fails
        return False
    return True


def _string(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _items(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _buttons(value: object) -> tuple[Button, ...]:
    buttons = (_button(item) for item in _items(value))
    return tuple(button for button in buttons if button is not None)


def _button(item: Mapping[str, Any]) -> Button | None:
    title = _string(item.get("title")).strip()
    if not title:
        log.warning("rendering.button_without_title")
        return None
    if item.get("url"):
        if (url := safe_url(item["url"])) is None:
            log.warning("rendering.unsafe_url", extra={"field": "button.url"})
            return None
        return Button(title=title, url=url)
    return Button(title=title, payload=_string(item.get("payload")) or title)


def _image(value: object) -> Image | None:
    alt = ""
    if isinstance(value, Mapping):
        alt, value = _string(value.get("alt")), value.get("url") or value.get("src")
    if not value:
        return None
    if (url := safe_url(value, IMAGE_SCHEMES)) is None:
        log.warning("rendering.unsafe_url", extra={"field": "image"})
        return None
    return Image(url=url, alt=alt)


def _attachment(value: object) -> list[Part]:
    kind = ""
    if isinstance(value, Mapping):
        payload = value.get("payload")
        kind = _string(value.get("type"))
        if kind == "template" and isinstance(payload, Mapping):
            return _cards(payload.get("elements"))
        value = (payload.get("url") or payload.get("src")) if isinstance(payload, Mapping) else value.get("url")
    if (url := safe_url(value, IMAGE_SCHEMES)) is None:
        log.warning("rendering.unsafe_url", extra={"field": "attachment"})
        return []
    if kind == "image":
        return [Image(url=url)]
    return [File(url=url, name=unquote(urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]) or url)]


def _cards(value: object) -> list[Part]:
    cards = tuple(card for item in _items(value) if (card := _card(item)) is not None)
    if len(cards) > 1:
        return [Carousel(cards=cards)]
    return list(cards)


def _card(item: Mapping[str, Any]) -> Card | None:
    title = _string(item.get("title")).strip()
    if not title:
        log.warning("rendering.card_without_title")
        return None
    image = _image(item.get("image_url") or item.get("image"))
    return Card(
        title=title,
        subtitle=_string(item.get("subtitle")),
        image_url=image.url if image else None,
        buttons=_buttons(item.get("buttons")),
    )


def _custom(value: object) -> list[Part]:
    """What authors write as `custom: {type: card, …}`. Anything else is for a channel of their own: nothing here."""
    if not isinstance(value, Mapping) or not value:
        return []
    kind = value.get("type")
    if kind == "card":
        card = _card(value)
        return [card] if card else []
    if kind == "carousel":
        return _cards(value.get("cards") or value.get("elements"))
    if kind == "image":
        image = _image(value)
        return [image] if image else []
    if kind == "file":
        return (
            _attachment(value)
            if "name" not in value
            else _checked(value, url=safe_url(value.get("url"), IMAGE_SCHEMES))
        )
    if kind in {"buttons", "quick_replies"}:
        return _checked(value, buttons=_buttons(value.get("buttons")))
    if kind in {"text", "form", "rating"}:
        return _checked(value)
    log.info("rendering.unknown_custom", extra={"kind": _string(kind)[:40]})
    return []


def _checked(value: Mapping[str, Any], **fields: object) -> list[Part]:
    try:
        return [_PART.validate_python({**value, **fields})]
    except ValidationError as error:
        bad = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False))
        log.warning("rendering.bad_custom", extra={"kind": _string(value.get("type"))[:40], "fields": bad})
        return []


# ---- Rasa's REST objects ----


def rasa_messages(body: Mapping[str, Any], recipient_id: str) -> list[dict[str, Any]]:
    """Split one bot message into the objects Rasa's REST channel answers, in its order and with its keys.

    Source: rasa 3.6.21, core/channels/channel.py (`send_response`, `CollectingOutputChannel`).
    """
    messages: list[dict[str, Any]] = []
    text = body.get("text")
    if buttons := body.get("quick_replies") or body.get("buttons"):
        messages.append({"text": text, "buttons": buttons} if text is not None else {"buttons": buttons})
    elif text:
        messages += [{"text": paragraph} for paragraph in _string(text).strip().split("\n\n")]
    if custom := body.get("custom"):
        messages.append({"custom": custom})
    image, attachment = body.get("image"), body.get("attachment")
    if image:
        messages.append({"image": image})
    if attachment and attachment != image:
        messages.append({"attachment": attachment})
    messages += [
        {"text": f"{element.get('title', '')} : {element.get('subtitle', '')}", "buttons": element.get("buttons", [])}
        for element in _items(body.get("elements"))
    ]
    return [{"recipient_id": recipient_id, **message} for message in messages]


# ---- plain text, for channels that can show less ----


def degrade(part: Part, limits: ChannelLimits) -> list[Part]:
    """What the channel can show: the part itself where it fits, else numbered text cut to the channel's length."""
    match part:
        case Text():
            return _texts(part.text, limits)
        case Buttons() | QuickReplies() if limits.has_buttons and len(part.buttons) <= limits.max_buttons:
            return [part]
        case Buttons() | QuickReplies():
            return _texts(_with_numbers(part.text, part.buttons), limits)
        case Image() if limits.has_images:
            return [part]
        case Card() | Carousel() if limits.has_cards:
            return [part]
        case Carousel():
            return [shown for card in part.cards for shown in degrade(card, limits)]
        case Card():
            return _card_without_frame(part, limits)
        case Image():
            return _texts(_named(part.alt, part.url), limits)
        case File():
            return _texts(_named(part.name, part.url), limits)
        case Form():
            return _texts(part.text, limits)
        case Rating():
            return _texts(f"{part.text} (1–{part.max})".strip(), limits)


def _card_without_frame(card: Card, limits: ChannelLimits) -> list[Part]:
    text = "\n".join(line for line in (card.title, card.subtitle) if line)
    shown: list[Part] = degrade(Image(url=card.image_url, alt=card.title), limits) if card.image_url else []
    if card.buttons:
        return shown + degrade(Buttons(text=text, buttons=card.buttons), limits)
    return shown + _texts(text, limits)


def _named(name: str, url: str) -> str:
    return f"{name}: {url}" if name else url


def _with_numbers(text: str, buttons: Iterable[Button]) -> str:
    lines = [_named(button.title, button.url) if button.url else button.title for button in buttons]
    return "\n".join([*([text] if text else []), *(f"{number}. {line}" for number, line in enumerate(lines, start=1))])


def _texts(text: str, limits: ChannelLimits) -> list[Part]:
    return [Text(text=piece) for piece in split_text(text, limits) if piece.strip()]


def split_text(text: str, limits: ChannelLimits) -> list[str]:
    """Pieces of what a channel takes at once, cut after the last paragraph, line, sentence or word that fits.

    Where there is none, the cut falls between two characters as people see them: an emoji of several code points or a
    letter with its accents stays whole, unless it is longer than the channel takes.
    """
    pieces: list[str] = []
    while _length(text, limits) > limits.max_text_chars:
        window = text[: _fitting(text, limits)]
        ends = (window.rfind(end) + len(end) for end in ("\n\n", "\n", "。", ". ", " ") if end in window)
        # A cut in the first half would make many short messages out of one long one.
        cut = next((end for end in ends if end > len(window) // 2), len(window))
        pieces.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*pieces, text]


def _length(text: str, limits: ChannelLimits) -> int:
    return len(text) if limits.text_unit == "characters" else len(text.encode(errors="replace"))


def _fitting(text: str, limits: ChannelLimits) -> int:
    """Code points of the longest beginning that fits and ends between two graphemes; at least one code point."""
    room, size = 0, limits.max_text_chars
    for grapheme in regex.finditer(r"\X", text[: size + 1]):
        room += _length(grapheme[0], limits)
        if room > size:
            return grapheme.start() or _fitting_code_points(text, limits)
    return size


def _fitting_code_points(text: str, limits: ChannelLimits) -> int:
    room = 0
    for place, char in enumerate(text):
        room += _length(char, limits)
        if room > limits.max_text_chars:
            return max(place, 1)
    return len(text)
