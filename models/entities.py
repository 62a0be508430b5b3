"""Entities by rule: regular expressions, lookup lists, synonyms, values with a shape. Learned entities are not here.

Invariant: spans do not overlap and never leave the text; a customer's text cannot make a pattern run without end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
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
_START = 2  # characters under which a lookup form is found


@dataclass(frozen=True, kw_only=True)
class LookupValue:
    """A surface form and what it names; `role` and `group` as annotated.

    Attributes:
        exact: it is meant as written, capitals and all.
        inside_words: it is also found within a longer word.
    """

    entity: str
    text: str
    role: str | None = None
    group: str | None = None
    exact: bool = False
    inside_words: bool = False


@dataclass(frozen=True, kw_only=True)
class EntityRules:
    """What the assistant's files say about entities.

    Attributes:
        regexes: (entity, pattern) pairs, matched without regard to case unless `case_sensitive`.
        lookups: every value of every lookup table, and every value annotated in the examples.
        synonyms: surface form, lower case → value.
        values: which dates, amounts, … are found without an example; None: none.
    """

    regexes: tuple[tuple[str, str], ...] = ()
    lookups: tuple[LookupValue, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    values: ValueOptions | None = None
    case_sensitive: bool = False

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
                case_sensitive=bool(raw.get("case_sensitive", False)),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactInvalid(f"{path}: not entity rules ({error}); train again") from error


class EntityMatcher:
    """Compiled rules. Raises ValueError for a pattern that does not compile (naming its entity) or an unknown zone."""

    def __init__(self, rules: EntityRules) -> None:
        self._synonyms = {key.casefold(): value for key, value in rules.synonyms.items()}
        flags = regex.V0 if rules.case_sensitive else regex.V0 | regex.IGNORECASE
        self._patterns = [(name, _compile(name, pattern, flags)) for name, pattern in rules.regexes]
        self._find_values = _value_finder(rules.values)
        self._values: dict[str, list[LookupValue]] = {}
        for value in rules.lookups:
            known = self._values.setdefault(value.text.casefold(), [])
            if value not in known:
                known.append(value)

    @cached_property
    def _forms(self) -> Mapping[str, Sequence[str]]:
        """Every surface form under its first two characters, longest first: "red wine glass" before "red wine"."""
        forms: dict[str, list[str]] = {}
        for form in sorted((_folded(form) for form in self._values if form.strip()), key=lambda form: -len(form)):
            forms.setdefault(form[:_START], []).append(form)
        return forms

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
        folded = _folded(text)
        end = 0
        for start in range(len(text)):
            if start < end:
                continue
            # A form of one character stands under itself.
            candidates = (*self._forms.get(folded[start : start + _START], ()), *self._forms.get(folded[start], ()))
            for form in candidates:
                if value := self._named(text, folded, form, start):
                    end = start + len(form)
                    yield self._entity(replace(value, text=text[start:end]), start)
                    break

    def _named(self, text: str, folded: str, form: str, start: int) -> LookupValue | None:
        """What the form names where it stands there; None where it does not."""
        if not folded.startswith(form, start):
            return None
        surface, is_alone = text[start : start + len(form)], _stands_alone(folded, form, start)
        known = self._values.get(surface.casefold(), ())
        fitting = (v for v in known if (is_alone or v.inside_words) and (not v.exact or v.text == surface))
        return next(fitting, None)

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


def _compile(name: str, pattern: str, flags: int) -> regex.Pattern[str]:
    try:
        return regex.compile(_spaced_boundaries(pattern), flags, cache_pattern=False)
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


def _folded(text: str) -> str:
    """The text without regard to case, character by character, so that places stay."""
    return "".join(low if len(low := char.casefold()) == 1 else char for char in text)


def _stands_alone(text: str, form: str, start: int) -> bool:
    """Whether the form, which begins at `start`, stands there as words of its own."""
    end = start + len(form)
    is_cut = start > 0 and _is_spaced(form[0]) and _is_spaced(text[start - 1])
    return not is_cut and not (end < len(text) and _is_spaced(form[-1]) and _is_spaced(text[end]))


@lru_cache(maxsize=4096)
def _is_spaced(char: str) -> bool:
    """Whether the character belongs to a word that blanks delimit."""
    return regex.fullmatch(_SPACED_WORD, char) is not None
