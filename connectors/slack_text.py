"""Slack's text markup in both directions: what people wrote as plain text, what the bot says as mrkdwn.

Source: https://docs.slack.dev/messaging/formatting-message-text

Invariant: nothing that the bot says can mention a channel or make a link that its text does not show.
"""

from __future__ import annotations

import re

from connectors.base import ChannelLimits
from connectors.rendering import split_text

_MARKUP = re.compile(r"<([^<>\s|][^<>|]*)(?:\|([^<>]*))?>")


def escape(text: str) -> str:
    """Slack reads these three characters, and no others, as markup of its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def plain_text(markup: str, bot_users: frozenset[str] = frozenset()) -> str:
    """What a person typed, as they saw it: links without brackets, the mention of the bot left out."""

    def shown(match: re.Match[str]) -> str:
        target, label = match[1], match[2]
        if target.startswith("@"):
            return "" if target[1:] in bot_users else f"@{label or target[1:]}"
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if target.startswith("!"):
            return label or "@" + target[1:].split("^")[0]
        address = target.removeprefix("mailto:").removeprefix("tel:")
        return address if not label or label in address else f"{label} ({address})"

    return unescape(_MARKUP.sub(shown, markup)).strip()


def mentions(markup: str) -> set[str]:
    """The ids of the users who are mentioned."""
    return {match[1][1:] for match in _MARKUP.finditer(markup) if match[1].startswith("@")}


def escaped_pieces(text: str, max_chars: int, *, cut_at: int | None = None) -> list[str]:
    """The text as mrkdwn, in pieces that Slack takes: `max_chars` counts after escaping, `cut_at` before it."""
    cut_at = cut_at or max_chars
    found: list[str] = []
    for piece in split_text(text, ChannelLimits(max_text_chars=cut_at)):
        escaped = escape(piece)
        # A character becomes five at most, so that the size shrinks until everything fits.
        found += [escaped] if len(escaped) <= max_chars else escaped_pieces(piece, max_chars, cut_at=cut_at // 2)
    return [piece for piece in found if piece.strip()]


def shortened(text: str, max_chars: int) -> str:
    """The beginning of a label, with an ellipsis where something is left out."""
    if len(text) <= max_chars:
        return text
    return split_text(text, ChannelLimits(max_text_chars=max_chars - 1))[0] + "…"


def link(url: str, label: str) -> str:
    """A link in mrkdwn."""
    return f"<{escape(url).replace('|', '%7C')}|{escape(' '.join(label.split()))}>"
