"""One bot message → what `chat.postMessage` takes: text alone, or Block Kit within Slack's limits.

Source: https://docs.slack.dev/reference/block-kit

Invariant: every post is within the limits below, and has a `text` for notifications and screen readers. What Slack
could not show or send back (a value that is too long, an address that is not on the web) becomes text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from connectors.rendering import degrade, parts
from connectors.slack_events import LINK_ACTION, OWN_ACTION
from connectors.slack_text import escape, escaped_pieces, link, shortened

MAX_SECTION_CHARS = 3_000
MAX_BLOCKS = 50
MAX_ELEMENTS = 25
MAX_LABEL_CHARS = 75
MAX_VALUE_CHARS = 2_000
MAX_URL_CHARS = 3_000
MAX_ALT_CHARS = 2_000
MAX_POST_CHARS = 12_000  # of blocks as JSON: Slack refuses far larger ones as a whole (msg_blocks_too_long)
MAX_STARS = 10

LIMITS = ChannelLimits(max_text_chars=MAX_SECTION_CHARS, max_inbound_chars=4_000, max_buttons=4 * MAX_ELEMENTS)
_TEXT_ONLY = ChannelLimits(
    max_text_chars=MAX_SECTION_CHARS, max_inbound_chars=4_000, has_buttons=False, has_images=False, has_cards=False
)

Block = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SlackPost:
    """One message in Slack. `text` is mrkdwn; without blocks it is what is shown."""

    text: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """One part of a bot message: its blocks, and the same as text."""

    text: str
    blocks: tuple[Block, ...]


def posts(body: Mapping[str, Any]) -> list[SlackPost]:
    """Translate one bot message; [] where there is nothing that Slack could show.

    A `custom` with `blocks` is posted as it stands, as Rasa does.
    """
    found = [shown for part in parts(body) for piece in _fitting(part) for shown in _show(piece)]
    made = [SlackPost(text=shown.text) for shown in found] if all(map(_is_text, found)) else _packed(found)
    return [*made, *_own_blocks(body.get("custom"))]


def _is_text(shown: _Shown) -> bool:
    return len(shown.blocks) == 1 and shown.blocks[0]["type"] == "section" and "accessory" not in shown.blocks[0]


def plain_post(post: SlackPost) -> SlackPost:
    """The same without blocks, for when Slack does not take them (an image that it cannot load)."""
    return SlackPost(text=post.text)


# ---- parts ----


def _fitting(part: Part) -> list[Part]:
    """The part, or the text that takes its place where Slack's limits forbid it."""
    match part:
        case Buttons() | QuickReplies() if not _can_carry(part.buttons):
            return degrade(part, _TEXT_ONLY)
        case Card() if not _is_showable(part):
            return degrade(part, _TEXT_ONLY)
        case Carousel() if not all(map(_is_showable, part.cards)):
            return [shown for card in part.cards for shown in _fitting(card)]
        case Image() | File() if not _is_on_the_web(part.url):
            return degrade(part, _TEXT_ONLY)
        case File() | Rating():
            return [part]
    return degrade(part, LIMITS)


def _is_showable(card: Card) -> bool:
    return _can_carry(card.buttons) and (card.image_url is None or _is_on_the_web(card.image_url))


def _can_carry(buttons: Iterable[Button]) -> bool:
    """Whether Slack sends every payload back and opens every page."""
    return all(
        _is_on_the_web(button.url) if button.url else len(button.payload or "") <= MAX_VALUE_CHARS for button in buttons
    )


def _is_on_the_web(url: str) -> bool:
    return url.lower().startswith(("https://", "http://")) and len(url) <= MAX_URL_CHARS


def _show(part: Part) -> list[_Shown]:
    match part:
        case Text() | Form():
            return [
                _Shown(text=text, blocks=(_section(text),)) for text in escaped_pieces(part.text, MAX_SECTION_CHARS)
            ]
        case Buttons() | QuickReplies():
            return [_with_buttons(escaped_pieces(part.text, MAX_SECTION_CHARS), part.buttons)]
        case Rating():
            stars = [Button(title=str(number), payload=str(number)) for number in range(1, _stars(part.max) + 1)]
            return [_with_buttons(escaped_pieces(part.text, MAX_SECTION_CHARS), stars)]
        case Image():
            alt = shortened(part.alt, MAX_ALT_CHARS)
            block: Block = {"type": "image", "image_url": part.url, "alt_text": alt or "image"}
            return [_Shown(text=link(part.url, alt) if alt else escape(part.url), blocks=(block,))]
        case File():
            text = link(part.url, shortened(part.name, 200))
            return [_Shown(text=text, blocks=(_section(text),))]
        case Card():
            return [_card(part)]
        case Carousel():
            return [_card(card, is_last=card is part.cards[-1]) for card in part.cards]


def _stars(best: int) -> int:
    return max(1, min(best, MAX_STARS))


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _with_buttons(texts: Sequence[str], buttons: Sequence[Button]) -> _Shown:
    blocks = [_section(text) for text in texts]
    rows = (buttons[start : start + MAX_ELEMENTS] for start in range(0, len(buttons), MAX_ELEMENTS))
    blocks += [{"type": "actions", "elements": [_element(button) for button in row]} for row in rows]
    names = ", ".join(escape(shortened(button.title, MAX_LABEL_CHARS)) for button in buttons[:MAX_ELEMENTS])
    return _Shown(text="\n".join([*texts, *([names] if names else [])]), blocks=tuple(blocks))


def _element(button: Button) -> Block:
    """A button. Its action id is made unique when it is known what else is in the post."""
    label = {"type": "plain_text", "text": shortened(button.title, MAX_LABEL_CHARS), "emoji": True}
    if button.url:
        return {"type": "button", "action_id": LINK_ACTION, "text": label, "url": button.url}
    value = button.payload or button.title
    return {"type": "button", "action_id": f"{OWN_ACTION}press", "text": label, "value": value}


def _card(card: Card, *, is_last: bool = True) -> _Shown:
    title = f"*{escape(' '.join(shortened(card.title, 500).split()))}*"
    texts = escaped_pieces(card.subtitle, MAX_SECTION_CHARS - len(title) - 1) or [""]
    first = _section(f"{title}\n{texts[0]}".strip())
    if card.image_url:
        alt = shortened(card.title, MAX_ALT_CHARS)
        first["accessory"] = {"type": "image", "image_url": card.image_url, "alt_text": alt}
    shown = _with_buttons([], card.buttons)
    blocks = [first, *(_section(text) for text in texts[1:]), *shown.blocks]
    text = "\n".join(line for line in (title, *texts, shown.text) if line)
    return _Shown(text=text, blocks=tuple(blocks if is_last else [*blocks, {"type": "divider"}]))


# ---- posts ----


def _packed(found: Sequence[_Shown]) -> list[SlackPost]:
    """As few posts as hold everything, in order. A part is taken apart only where one post could not hold it."""
    made: list[SlackPost] = []
    texts: list[str] = []
    blocks: list[Block] = []

    def close() -> None:
        if blocks:
            text = _beginning("\n".join(texts)) or "…"
            made.append(SlackPost(text=text, blocks=tuple(_numbered(blocks))))
        texts.clear()
        blocks.clear()

    for shown in found:
        if len(blocks) + len(shown.blocks) > MAX_BLOCKS or _size([*blocks, *shown.blocks]) > MAX_POST_CHARS:
            close()
        texts.append(shown.text)
        for block in shown.blocks:
            if len(blocks) == MAX_BLOCKS or (blocks and _size([*blocks, block]) > MAX_POST_CHARS):
                close()
                texts.append(shown.text)
            blocks.append(block)
    close()
    return made


def _beginning(text: str) -> str:
    """The beginning of mrkdwn that is escaped already, not cut inside an entity or a link."""
    if len(text) <= MAX_SECTION_CHARS:
        return text
    cut = text[:MAX_SECTION_CHARS]
    for opening, closing in (("&", ";"), ("<", ">")):
        if cut.rfind(opening) > cut.rfind(closing):
            cut = cut[: cut.rfind(opening)]
    return cut


def _size(blocks: Sequence[Block]) -> int:
    return len(json.dumps(blocks, ensure_ascii=False))


def _numbered(blocks: Sequence[Block]) -> list[Block]:
    """Action ids must differ within one message."""
    number = 0
    numbered = []
    for block in blocks:
        if block["type"] == "actions":
            elements = []
            for element in block["elements"]:
                elements.append({**element, "action_id": f"{element['action_id']}:{number}"})
                number += 1
            block = {**block, "elements": elements}
        numbered.append(block)
    return numbered


def _own_blocks(custom: object) -> list[SlackPost]:
    if not isinstance(custom, Mapping):
        return []
    blocks = custom.get("blocks")
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, Mapping) for block in blocks):
        return []
    text = custom.get("text")
    return [SlackPost(text=text if isinstance(text, str) and text else "…", blocks=tuple(dict(b) for b in blocks))]
