"""What a rule of redaction is: a kind, and where text of this kind stands.

Rules see text in which whatever was found before is one `FOUND` character: it ends a word, and stands for a cue where a
name is told by the number beside it. No rule may match across it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import regex

Kind = Literal[
    "url",
    "email",
    "ip",
    "id",  # national ids of persons: resident id, social security number, driving licence
    "passport",
    "iban",
    "card",
    "plate",
    "account",  # QQ, WeChat, a bank account by its label
    "phone",
    "address",
    "person",
]
Span = tuple[int, int]

FOUND = "\ufffc"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One way to find one kind; `find` yields spans in order that do not overlap."""

    kind: Kind
    find: Callable[[str], Iterator[Span]]


def rule(
    kind: Kind,
    pattern: str,
    holds: Callable[[regex.Match[str]], bool] | None = None,
    *,
    needs: str | Sequence[str] | None = None,
) -> Rule:
    """A rule made of a pattern.

    Args:
        pattern: what it names is the group `it`, or all of the match where there is no such group.
        holds: what the pattern cannot say, such as a check digit.
        needs: a cheap pattern without which a text is not searched; or several, any of which will do: each by
            itself is found faster than all of them as one.
    """

    @cache
    def compiled() -> regex.Pattern[str]:
        # At the first text: all of them together take a third of a second, which a program that redacts nothing saves.
        return regex.compile(pattern)

    cheap = [regex.compile(each) for each in ([needs] if isinstance(needs, str) else needs or ())]

    def find(text: str) -> Iterator[Span]:
        if cheap and not any(each.search(text) for each in cheap):
            return
        group = "it" if "it" in compiled().groupindex else 0
        for match in compiled().finditer(text):
            if holds is None or holds(match):
                yield match.span(group)

    return Rule(kind=kind, find=find)
