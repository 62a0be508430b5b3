"""Whether a text needs care, and why: patterns by kind, in English and Chinese.

Invariant: the same text always gets the same finding, and its `why` names the pattern that caused it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bot.safety.patterns import ADDRESSED_TO_A_READER, PATTERNS, Kind, Patterns
from bot.safety.readings import plain, readings

MOST_CHARS = 4_000
"""Read of a text, half at its beginning and half at its end. Whoever writes more is not asking a shop something."""
TOO_LONG = "is longer than what is read"
WORDS_OF_A_WISH, HAN_OF_A_WISH = 4, 6
"""From so many words, or Chinese characters, beside the abuse on, a message says something else too."""
_WORD = re.compile(r"[a-zà-ɏ']{2,}")
_HAN = re.compile(r"[㐀-鿿]")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What kind of care a text needs.

    Attributes:
        why: the pattern's name, and how the text had to be read for it where not as it stands.
        has_a_wish: the text says something beside what was found; told of abuse alone.
    """

    kind: Kind
    why: str
    has_a_wish: bool = False

    def to_json(self) -> dict[str, Any]:
        """What a message's parse data carries."""
        return {"kind": self.kind, "why": self.why}


def screen(text: str) -> Finding | None:
    """The first kind in the order of `Kind` that fits; None where nothing does."""
    bounded = _bounded(text)
    read = plain(bounded)
    for kind in PATTERNS:
        why = _instructions(bounded, _compiled(kind)) if kind == "injection" else _first(read, _compiled(kind))
        if why is not None:
            return Finding(kind=kind, why=why, has_a_wish=kind == "toxic" and _has_a_wish(read))
    return Finding(kind="injection", why=TOO_LONG) if len(text) > MOST_CHARS else None


def instructions_in(text: str) -> str | None:
    """Why a text for people seems to instruct a machine that reads it; None where it does not."""
    return _instructions(text, tuple(each for each in _compiled("injection") if each[0] in ADDRESSED_TO_A_READER))


def _bounded(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS // 2]}\n{text[-MOST_CHARS // 2 :]}"


_Named = Sequence[tuple[str, re.Pattern[str]]]


def _instructions(text: str, patterns: _Named) -> str | None:
    for how, read in readings(text):
        if why := _first(read, patterns):
            return f"{why} ({how})" if how else why
    return None


def _first(read: str, patterns: _Named) -> str | None:
    has_han = _HAN.search(read) is not None
    return next((why for why, pattern in patterns if (has_han or _is_latin(pattern)) and pattern.search(read)), None)


def _has_a_wish(read: str) -> bool:
    rest = read
    for _, pattern in _compiled("toxic"):
        rest = pattern.sub(" ", rest)
    return len(_WORD.findall(rest)) >= WORDS_OF_A_WISH or len(_HAN.findall(rest)) >= HAN_OF_A_WISH


@cache
def _compiled(kind: Kind) -> _Named:
    return tuple(_each(PATTERNS[kind]))


def _each(patterns: Patterns) -> Iterator[tuple[str, re.Pattern[str]]]:
    """A name's Latin sources as one pattern that begins where a word does, also beside Chinese; its Chinese ones as
    another, which a text without Chinese is spared."""
    for why, sources in patterns.items():
        latin = "|".join(source for source in sources if not _HAN.search(source))
        chinese = "|".join(source for source in sources if _HAN.search(source))
        if latin:
            yield why, re.compile(rf"(?<!\w)(?:{latin})", re.MULTILINE | re.ASCII)
        if chinese:
            yield why, re.compile(chinese, re.MULTILINE)


def _is_latin(pattern: re.Pattern[str]) -> bool:
    return bool(pattern.flags & re.ASCII)
