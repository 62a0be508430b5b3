"""Personal data out of text: for good before it is learned from, for a while before it is sent outside. Pure.

How each kind is found is in `bot.personal`. Invariant: redacting twice equals redacting once; a placeholder never
matches a rule. To this end what was found is one character while the rest is searched, and so is every placeholder
that the text already has: the text of the second time is the very text in which the first found nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain, count, islice, zip_longest
from types import MappingProxyType
from typing import NamedTuple, get_args

import regex

from bot.personal import addresses, known_names, names, numbers, phones
from bot.personal.rules import FOUND, Kind, Rule

KINDS: tuple[Kind, ...] = get_args(Kind)
# In this order: what was found first is out of reach for the rules behind it. Names come last, since some are told by
# the number or the address beside them.
RULES = (*numbers.RULES, *addresses.RULES, *phones.RULES, *names.RULES, *known_names.RULES)

_PLACEHOLDER = regex.compile(rf"\[(?:{'|'.join(KINDS)})(?:_\d+)?\]")
_OPAQUE = regex.compile(rf"{_PLACEHOLDER.pattern}|{FOUND}")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Personal data in a text: text[start:end] is of this kind."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Texts that may leave, and what was taken out of them.

    Attributes:
        texts: as given, with numbered placeholders; what is the same in two places has the same number.
        originals: placeholder → what stood there.
    """

    texts: tuple[str, ...]
    originals: Mapping[str, str]

    def restore(self, text: str) -> str:
        """Put the originals back, into a reply or into the texts themselves; other placeholders stay as they are."""
        return _PLACEHOLDER.sub(lambda match: self.originals.get(match[0], match[0]), text)


def find(text: str) -> list[Finding]:
    """The personal data of a text, in order, without overlaps. What placeholders stand for is not looked for."""
    findings, start = [], 0
    for piece in _pieces(text):
        end = start + len(piece.text)
        if piece.kind is not None:
            findings.append(Finding(kind=piece.kind, start=start, end=end))
        start = end
    return findings


def redact(text: str) -> str:
    """Replace personal data by its kind: [email], [url], [phone], [person] and so on, see `KINDS`.

    Order numbers stay: they name no person and intents are learned from them.
    """
    return "".join(piece.text if piece.kind is None else f"[{piece.kind}]" for piece in _pieces(text))


def mask(*texts: str) -> Masked:
    """Replace personal data by numbered placeholders such as [email_1], so that a reply can be restored.

    Texts that go out together, such as the messages of a conversation, are masked together. A placeholder that one of
    them already has is never given out, so that it is not taken for ours.
    """
    split = [_pieces(text) for text in texts]
    typed = {match[0] for text in texts for match in _PLACEHOLDER.finditer(text)}
    unused = {kind: _unused(kind, typed) for kind in KINDS}
    given: dict[_Piece, str] = {}
    for piece in chain.from_iterable(split):
        if piece.kind is not None and piece not in given:
            given[piece] = next(unused[piece.kind])
    return Masked(
        texts=tuple("".join(given.get(piece, piece.text) for piece in pieces) for pieces in split),
        originals=MappingProxyType({placeholder: piece.text for piece, placeholder in given.items()}),
    )


class _Piece(NamedTuple):
    """Part of a text: personal data of a kind, or (None) what stays."""

    text: str
    kind: Kind | None


def _unused(kind: Kind, typed: Set[str]) -> Iterator[str]:
    placeholders = (f"[{kind}_{number}]" for number in count(1))
    return (placeholder for placeholder in placeholders if placeholder not in typed)


def _pieces(text: str) -> list[_Piece]:
    """The text in pieces, in order; joined they are the text."""
    hidden = [_Piece(match[0], None) for match in _OPAQUE.finditer(text)]
    visible = _OPAQUE.sub(FOUND, text)
    before = None
    while visible != before:
        before = visible
        for rule in RULES:
            visible, hidden = _hide(visible, hidden, rule)
        persons = [each.text for each in hidden if each.kind == "person"]
        visible, hidden = _hide(visible, hidden, known_names.again(persons))
    shown = [_Piece(part, None) for part in visible.split(FOUND)]
    return [piece for pair in zip_longest(shown, hidden) for piece in pair if piece is not None and piece.text]


def _hide(visible: str, hidden: list[_Piece], rule: Rule) -> tuple[str, list[_Piece]]:
    """Turn what the rule finds into one FOUND each, and list it among what is hidden, in the text's order."""
    parts, listed, earlier, start = [], [], iter(hidden), 0
    for begin, end in rule.find(visible):
        if begin < end and FOUND not in visible[begin:end]:
            parts.append(visible[start:begin])
            listed += [*islice(earlier, parts[-1].count(FOUND)), _Piece(visible[begin:end], rule.kind)]
            start = end
    if not listed:
        return visible, hidden
    return FOUND.join([*parts, visible[start:]]), [*listed, *earlier]
