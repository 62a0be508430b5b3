"""Rasa's bot message → what WeChat shows: texts, menus and articles, pushed one by one or merged into one reply.

Invariant: a menu entry's id names the message and the place of its button, and the number in front of a button is its
place in the last list shown: `payload_of_entry` and `payload_of_number` find the same payloads again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from connectors.base import (
    Button,
    Buttons,
    Card,
    Carousel,
    ChannelLimits,
    Image,
    OutboundMessage,
    Part,
    QuickReplies,
    Text,
)
from connectors.rendering import degrade, parts, split_text
from connectors.wechat_xml import Article

LIMITS = ChannelLimits(
    max_text_chars=2_048,
    text_unit="utf8_bytes",
    max_buttons=10,
    has_buttons=True,
    has_images=True,
    has_cards=True,
)
"""2,048 bytes is what WeChat names for a reply's Content and for a customer-service text."""
_HEAD = ChannelLimits(max_text_chars=1_024, text_unit="utf8_bytes")
_PLAIN = ChannelLimits(
    max_text_chars=2_048, text_unit="utf8_bytes", has_buttons=False, has_images=False, has_cards=False
)
MAX_ENTRY_BYTES = 128
MAX_TITLE_CHARS = 64
MAX_ARTICLE_TEXT_CHARS = 120
"""Longer texts are cut off under an article's picture, so they go as text."""
_ENTRY = re.compile(r"(\d{1,18})\.(\d{1,3})")


@dataclass(frozen=True, kw_only=True)
class Menu:
    """Buttons to choose from: (id, title) each."""

    text: str
    entries: tuple[tuple[str, str], ...]


Shown = str | Menu | Article


def shown(message: OutboundMessage, public_url: str = "") -> list[Shown]:
    """What is to be seen of one message, in order."""
    found: list[Shown] = []
    count = 0
    for part in parts(message.body):
        buttons = choices(part)
        if not buttons:
            found += _without_choices(part, public_url)
            continue
        entries = tuple((f"{message.seq}.{count + n}", button.title) for n, button in enumerate(buttons, start=1))
        count += len(buttons)
        found.append(Menu(text=_head(part, public_url), entries=entries))
    return found


def choices(part: Part) -> tuple[Button, ...]:
    """The buttons that answer something; links are not among them."""
    match part:
        case Buttons() | QuickReplies() | Card():
            buttons = part.buttons
        case Carousel():
            buttons = tuple(button for card in part.cards for button in card.buttons)
        case _:
            return ()
    return tuple(button for button in buttons if button.payload is not None)


def _without_choices(part: Part, public_url: str) -> list[Shown]:
    match part:
        case Image():
            url = _absolute(part.url, public_url)
            return [Article(title=_title(part.alt) or "图片", picture=url, url=url)] if url else _shown_text(part.alt)
        case Card():
            return [_article(part, public_url) or _head(part, public_url)]
        case Carousel() | Buttons() | QuickReplies():
            return [_head(part, public_url)]
        case Text():
            return _shown_text(part.text)  # whole: where it is cut depends on what it is merged with
        case _:
            return [one.text for one in degrade(part, _PLAIN) if isinstance(one, Text)]


def _article(card: Card, public_url: str) -> Article | None:
    picture = _absolute(card.image_url, public_url)
    link = next((button.url for button in card.buttons if button.url), None)
    url = _absolute(link, public_url) or picture
    if not url:
        return None
    return Article(title=_title(card.title), description=card.subtitle, picture=picture, url=url)


def _head(part: Part, public_url: str) -> str:
    """The text above the choices: what was said, and the links."""
    match part:
        case Buttons() | QuickReplies():
            return _joined(part.text, *_links(part.buttons, public_url))
        case Card():
            picture = _absolute(part.image_url, public_url)
            return _joined(part.title, part.subtitle, picture, *_links(part.buttons, public_url))
        case Carousel():
            return "\n\n".join(_head(card, public_url) for card in part.cards)
    return ""


def _links(buttons: Iterable[Button], public_url: str) -> list[str]:
    return [f"{button.title}: {_absolute(button.url, public_url)}" for button in buttons if button.url]


def _absolute(url: str | None, public_url: str) -> str:
    """WeChat fetches and opens full addresses only."""
    full = urljoin(public_url.rstrip("/") + "/", url) if url and public_url else url or ""
    return full if ":" in full.partition("/")[0] else ""


def _joined(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _shown_text(text: str) -> list[Shown]:
    return [text] if text.strip() else []


def _title(text: str) -> str:
    return text if len(text) <= MAX_TITLE_CHARS else text[: MAX_TITLE_CHARS - 1] + "…"


# ---- pushed: as many messages as it takes, as few as possible ----


def pushed(messages: Iterable[OutboundMessage], *, has_menus: bool, public_url: str = "") -> list[Shown]:
    """What is sent for these messages: texts that follow each other merged, then cut to WeChat's length."""
    found: list[Shown] = []
    texts: list[str] = []
    for one in (one for message in messages for one in shown(message, public_url)):
        if isinstance(one, Menu) and not (has_menus and _fits_a_menu(one)):
            one = as_text(one)
        if isinstance(one, str):
            texts.append(one)
            continue
        found += _cut(texts)
        texts = []
        found.append(one)
    return [*found, *_cut(texts)]


def _cut(texts: Sequence[str]) -> list[str]:
    text = "\n\n".join(text for text in texts if text.strip())
    return split_text(text, LIMITS) if text else []


def _fits_a_menu(menu: Menu) -> bool:
    return (
        len(menu.entries) <= LIMITS.max_buttons
        and len(split_text(menu.text, _HEAD)) == 1
        and all(len(title.encode(errors="replace")) <= MAX_ENTRY_BYTES for _, title in menu.entries)
    )


def as_text(one: Shown) -> str:
    match one:
        case Menu():
            return _joined(one.text, *(f"{number}. {title}" for number, (_, title) in enumerate(one.entries, start=1)))
        case Article():
            return _joined(one.title, one.description, one.url)
    return one


def custom_message(one: Shown) -> dict[str, Any]:
    """The body of `message/custom/send`, less its receiver."""
    match one:
        case Menu():
            entries = [{"id": entry, "content": title} for entry, title in one.entries]
            return {"msgtype": "msgmenu", "msgmenu": {"head_content": one.text, "list": entries, "tail_content": ""}}
        case Article():
            article = {"title": one.title, "description": one.description, "url": one.url, "picurl": one.picture}
            return {"msgtype": "news", "news": {"articles": [article]}}
    return {"msgtype": "text", "text": {"content": one}}


def kf_message(one: Shown) -> dict[str, Any]:
    """The body of `kf/send_msg`, less its addresses. An article is text there: its card needs an uploaded picture."""
    if isinstance(one, Menu):
        entries = [{"type": "click", "click": {"id": entry, "content": title}} for entry, title in one.entries]
        return {"msgtype": "msgmenu", "msgmenu": {"head_content": one.text, "list": entries}}
    return {"msgtype": "text", "text": {"content": as_text(one)}}


# ---- passive: one reply for all ----


def merged(messages: Iterable[OutboundMessage], public_url: str = "") -> str | Article:
    """Everything in one: an article where there is one picture with few words, else text of any length."""
    everything = [one for message in messages for one in shown(message, public_url)]
    texts = [one for one in everything if isinstance(one, str)]
    articles = [one for one in everything if isinstance(one, Article)]
    words = "\n".join(texts)
    if len(articles) == 1 and len(texts) == len(everything) - 1 and len(words) <= MAX_ARTICLE_TEXT_CHARS:
        return _with_words(articles[0], words)
    return "\n\n".join(text for one in everything if (text := as_text(one)).strip())


def _with_words(article: Article, words: str) -> Article:
    if not words:
        return article
    description = _joined(article.description, words)
    return Article(title=article.title, description=description, picture=article.picture, url=article.url)


def cut_reply(text: str, ending: str = "") -> tuple[str, str]:
    """The longest beginning that fits one reply (with `ending`, where something is left), and what is left."""
    if len(text.encode(errors="replace")) <= LIMITS.max_text_chars:
        return text, ""
    room = LIMITS.max_text_chars - len(ending.encode(errors="replace"))
    first = split_text(text, ChannelLimits(max_text_chars=room, text_unit="utf8_bytes"))[0]
    return first + ending, text[len(first) :].lstrip()


# ---- what a choice stands for ----


def seq_of_entry(menu_id: str) -> int | None:
    """The message whose menu was tapped; None for an id that is not ours."""
    found = _ENTRY.fullmatch(menu_id)
    return int(found[1]) if found else None


def payload_of_entry(menu_id: str, body: Mapping[str, Any]) -> str | None:
    """The payload of the tapped entry of a message with this body."""
    found = _ENTRY.fullmatch(menu_id)
    buttons = [button for part in parts(body) for button in choices(part)]
    place = int(found[2]) if found else 0
    return buttons[place - 1].payload if 1 <= place <= len(buttons) else None


def payload_of_number(number: int, bodies: Sequence[Mapping[str, Any]]) -> str | None:
    """The payload of the button with this number in the last list of what was just said."""
    lists = [buttons for body in bodies for part in parts(body) if (buttons := choices(part))]
    if not lists or not 1 <= number <= len(lists[-1]):
        return None
    return lists[-1][number - 1].payload
