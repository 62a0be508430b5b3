"""How the company sounds (`voice` in brand.yml), one value per language. Whether a text sounds so: `voice.py`.

Invariant: what the file leaves out, or says wrongly, is as in `Voice()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from bot.assistant.source import Node, Problems
from bot.assistant.texts import LANGUAGES

Formality = Literal["casual", "neutral", "formal"]
"""In Chinese casual is 你 and formal 您; neutral is either, but one of them."""
Warmth = Literal["low", "medium", "high"]
"""How many exclamation marks one reply may have: none, one, two."""
Emoji = Literal["none", "few", "many"]
"""Few: two in a reply."""
Person = Literal["we", "i"]
"""Who speaks: the company, or the assistant for itself."""

T = TypeVar("T")
Read = Callable[[Node, Problems], T | None]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How one language sounds.

    Attributes:
        length: most words of a reply in English, most characters in Chinese; None: no limit.
        person: None: either.
        sign_off: stands below answers from documents.
        prefer: word → what is said instead.
        claims_need_approval: words that promise what somebody has to vouch for.
    """

    formality: Formality = "neutral"
    warmth: Warmth = "medium"
    length: int | None = None
    emoji: Emoji = "few"
    person: Person | None = None
    sign_off: str | None = None
    prefer: Mapping[str, str] = field(default_factory=dict)
    forbid: tuple[str, ...] = ()
    competitors: tuple[str, ...] = ()
    claims_need_approval: tuple[str, ...] = ()


def read_voices(node: Node | None, problems: Problems) -> Mapping[str, Voice]:
    """The voice of each language; empty where the file has no `voice`."""
    if node is None or not node.expect_map(problems):
        return {}
    node.warn_unknown_keys(frozenset(_READERS), problems)
    said: dict[str, dict[str, Any]] = {language: {} for language in LANGUAGES}
    for name, read in _READERS.items():
        for language, value in _by_language(node.get(name), read, problems).items():
            said[language][name] = value
    return {language: Voice(**values) for language, values in said.items()}


def _by_language(node: Node | None, read: Read[T], problems: Problems) -> Mapping[str, T]:
    """A value for all languages, or one per language."""
    if node is None or node.is_null:
        return {}
    parts = dict(node.items())
    is_pairs_for_all = read is _read_preferred and not parts.keys() <= set(LANGUAGES)
    if not parts or is_pairs_for_all:
        value = read(node, problems)
        return {} if value is None else dict.fromkeys(LANGUAGES, value)
    for language in parts.keys() - set(LANGUAGES):
        problems.error(
            parts[language],
            f"no voice is known for the language '{language}'",
            f"Write one value for all languages, or one for each of: {', '.join(LANGUAGES)}.",
        )
    return {
        language: value
        for language in LANGUAGES
        if (part := parts.get(language)) and (value := read(part, problems)) is not None
    }


def _read_choice(node: Node, problems: Problems, *, choices: tuple[str, ...]) -> str | None:
    if isinstance(node.value, str) and node.value.lower() in choices:
        return node.value.lower()
    name = node.path.split(".")[1]
    problems.error(node, f"no such {name}: '{node.plain()}'", f"Choose one of: {', '.join(choices)}.")
    return None


def _read_length(node: Node, problems: Problems) -> int | None:
    if isinstance(node.value, int) and not isinstance(node.value, bool) and node.value > 0:
        return int(node.value)
    problems.error(
        node,
        f"'{node.plain()}' is no length of a reply",
        "Write the most words of an English reply, the most characters of a Chinese one: `length: {en: 60, zh: 120}`.",
    )
    return None


def _read_sign_off(node: Node, problems: Problems) -> str | None:
    return _text(node, "Write the words that end a reply, or leave `sign_off` out.", problems)


def _read_words(node: Node, problems: Problems) -> tuple[str, ...]:
    hint = 'Write a list of words or phrases: `["cheap", "no worries"]`.'
    parts = node.elements() if node.is_list else [node]
    return tuple(word for part in parts if (word := _text(part, hint, problems)))


def _read_preferred(node: Node, problems: Problems) -> Mapping[str, str] | None:
    if not node.is_map:
        problems.error(
            node,
            "pairs of words are expected here",
            'Write what is said instead of what: `"customer service": "our team"`.',
        )
        return None
    hint = "Write what is said instead, or put the word under `forbid`."
    pairs = {word.strip(): better for word, part in node.items() if (better := _text(part, hint, problems))}
    for word, better in pairs.items():
        if word.casefold() == better.casefold():
            problems.error(node.get(word), f"'{word}' is to be said instead of itself", hint)
    return pairs


def _text(node: Node, hint: str, problems: Problems) -> str | None:
    if isinstance(node.value, str) and node.value.strip():
        return str(node.value).strip()
    problems.error(node, f"'{'' if node.is_null else node.plain()}' is no text", hint)
    return None


_READERS: Mapping[str, Read[Any]] = {
    **{
        name: partial(_read_choice, choices=get_args(choices))
        for name, choices in (("formality", Formality), ("warmth", Warmth), ("emoji", Emoji), ("person", Person))
    },
    "length": _read_length,
    "sign_off": _read_sign_off,
    "prefer": _read_preferred,
    **dict.fromkeys(("forbid", "competitors", "claims_need_approval"), _read_words),
}
