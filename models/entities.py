"""Entities by rule: regular expressions, lookup lists, synonyms, values with a shape. Learned entities are not here.

Invariant: spans do not overlap and never leave the text; a customer's text cannot make a pattern run without end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import regex

from models.base import ArtifactInvalid, Entity
from models.spans import Found, longest
from models.value_options import ValueOptions

# Scripts written without blanks: there a "word boundary" of a pattern lies between such a character and any other word.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
_SPACED_WORD = rf"(?:(?![{_UNSPACED}])\w)"
_BOUNDARY = rf"(?:(?<={_SPACED_WORD})(?!{_SPACED_WORD})|(?<!{_SPACED_WORD})(?={_SPACED_WORD}))"
# Long past any honest pattern on one chat message; what runs longer is skipped, and the message still gets an answer.
_TIMEOUT_S = 0.05
_LOOKUP_BLOCK = 2000


@dataclass(frozen=True, kw_only=True)
class LookupValue:
    """A surface form and what it names; `role` and `group` as annotated."""

    entity: str
    text: str
    role: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class EntityRules:
    """What the assistant's files say about entities.

    Attributes:
        regexes: (entity, pattern) pairs, matched without regard to case, as Rasa's RegexEntityExtractor does.
        lookups: every value of every lookup table, and every value annotated in the examples.
        synonyms: surface form, lower case → value.
        values: which dates, amounts, … are found without an example; None: none.
    """

    regexes: tuple[tuple[str, str], ...] = ()
    lookups: tuple[LookupValue, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    values: ValueOptions | None = None

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EntityRules:
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                regexes=tuple((str(name), str(pattern)) for name, pattern in raw["regexes"]),
                lookups=tuple(LookupValue(**value) for value in raw["lookups"]),
                synonyms={str(key): str(value) for key, value in raw["synonyms"].items()},
                # Version folders written before there were values lack the key.
                values=ValueOptions(**values) if (values := raw.get("values")) else None,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactInvalid(f"{path}: not entity rules ({error}); train again") from error


class EntityMatcher:
    """Compiled rules. Raises ValueError for a pattern that does not compile (naming its entity) or an unknown zone."""

    def __init__(self, rules: EntityRules) -> None:
        self._synonyms = {key.casefold(): value for key, value in rules.synonyms.items()}
        self._patterns = [(name, _compile(name, pattern)) for name, pattern in rules.regexes]
        self._find_values = _value_finder(rules.values)
        self._values: dict[str, list[LookupValue]] = {}
        for value in rules.lookups:
            known = self._values.setdefault(value.text.casefold(), [])
            if value not in known:
                known.append(value)

    @cached_property
    def _lookup_patterns(self) -> list[regex.Pattern[str]]:
        # Longest first, so that "red wine glass" is not cut to "red wine".
        forms = sorted((form for form in self._values if form.strip()), key=lambda form: (-len(form), form))
        blocks = [forms[start : start + _LOOKUP_BLOCK] for start in range(0, len(forms), _LOOKUP_BLOCK)]
        return [
            regex.compile("|".join(_whole_word(form) for form in block), regex.IGNORECASE, cache_pattern=False)
            for block in blocks
        ]

    def find(self, text: str, now: datetime | None = None) -> tuple[Entity, ...]:
        """The entities of one text, in reading order.

        Of overlapping ones the longest wins; of equals patterns come before values, values before lookups.

        Args:
            now: when the message was sent, with its zone: what "tomorrow" counts from. None: this moment.
        """
        values = self._find_values(text, now or datetime.now(UTC))
        found = [*self._from_patterns(text), *values, *self._from_lookups(text)]
        spans = [Found(start=entity.start, end=entity.end, value=entity) for entity in found]
        return tuple(one.value for one in longest(spans, len(text)))

    def _from_patterns(self, text: str) -> Iterable[Entity]:
        for name, pattern in self._patterns:
            for start, end in _spans(pattern, text):
                yield self._entity(LookupValue(entity=name, text=text[start:end]), start)

    def _from_lookups(self, text: str) -> Iterable[Entity]:
        for pattern in self._lookup_patterns:
            for start, end in _spans(pattern, text):
                surface = text[start:end]
                for value in self._values.get(surface.casefold(), ())[:1]:
                    yield self._entity(replace(value, text=surface), start)

    def value_of(self, surface: str) -> str:
        """What a surface form stands for: its synonym, else itself."""
        return self._synonyms.get(surface.casefold(), surface)

    def _entity(self, found: LookupValue, start: int) -> Entity:
        return Entity(
            entity=found.entity,
            value=self.value_of(found.text),
            start=start,
            end=start + len(found.text),
            role=found.role,
            group=found.group,
        )


def _value_finder(options: ValueOptions | None) -> Callable[[str, datetime], tuple[Entity, ...]]:
    if options is None:
        return lambda text, now: ()
    from models.values import ValueFinder  # its patterns compile for a tenth of a second; most assistants need none

    return ValueFinder(options).find


def _spans(pattern: regex.Pattern[str], text: str) -> list[tuple[int, int]]:
    try:
        spans = [match.span() for match in pattern.finditer(text, timeout=_TIMEOUT_S)]
    except TimeoutError:
        return []
    return [(start, end) for start, end in spans if start < end]


def _compile(name: str, pattern: str) -> regex.Pattern[str]:
    try:
        return regex.compile(_spaced_boundaries(pattern), regex.IGNORECASE, cache_pattern=False)
    except regex.error as error:
        raise ValueError(f"entity {name!r}: the pattern {pattern!r} does not compile: {error}") from error


def _spaced_boundaries(pattern: str) -> str:
    r"""Replace `\b` outside character classes, so that `\bA-\d+\b` also matches in 我的订单A-1001到哪了."""
    out: list[str] = []
    in_class = False
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            pair = pattern[position : position + 2]
            out.append(_BOUNDARY if pair == r"\b" and not in_class else pair)
            position += 2
            continue
        if char == "[":
            in_class = True
        elif char == "]":
            in_class = False
        out.append(char)
        position += 1
    return "".join(out)


def _whole_word(form: str) -> str:
    before = rf"(?<!{_SPACED_WORD})" if regex.match(_SPACED_WORD, form) else ""
    after = rf"(?!{_SPACED_WORD})" if regex.match(_SPACED_WORD, form[-1]) else ""
    return f"{before}{regex.escape(form)}{after}"
