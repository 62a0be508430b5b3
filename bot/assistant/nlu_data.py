"""What customers may say: intent examples with entities, synonyms, regexes, lookups, sentiment. No learning here.

Invariant: `IntentExample.text` is plain text; spans are code-point offsets into it, end exclusive.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.assistant.source import Node, Problems
from bot.errors import Where
from training.annotations import EntitySpan, split_annotations


@dataclass(frozen=True, kw_only=True)
class IntentExample:
    """`intent` is what stands before the slash of `faq/ask_hours`, `response` all of it; None without a slash."""

    text: str
    intent: str
    entities: tuple[EntitySpan, ...]
    language: str | None
    where: Where
    response: str | None = None


@dataclass(frozen=True, kw_only=True)
class NluData:
    """`synonyms`: surface form, lower case → value. `lookups`: entity → listed values. `regexes`: (name, pattern).

    `retrieval` are the intents whose examples are told apart below the intent (`faq/ask_hours`).
    """

    examples: tuple[IntentExample, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    regexes: tuple[tuple[str, str], ...] = ()
    lookups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retrieval: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SentimentExample:
    text: str
    label: str
    language: str | None
    where: Where


SENTIMENT_LABELS = ("negative", "neutral", "positive")
_LANGUAGE_SUFFIX = re.compile(r"(?:^|[_.-])(en|zh)$", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"[^\W\d_]")


def language_of(text: str, file: Path) -> str | None:
    """The file's suffix (`nlu_en.yml`, `zh.csv`) decides, else the script; None where neither tells."""
    if found := _LANGUAGE_SUFFIX.search(file.stem):
        return found.group(1).lower()
    if _HAN.search(text):
        return "zh"
    return "en" if _LETTER.search(text) else None


_ITEM_KEYS = frozenset({"intent", "synonym", "regex", "lookup", "examples", "metadata"})


@dataclass(kw_only=True)
class NluDraft:
    """Collects the `nlu:` sections of several files."""

    problems: Problems
    examples: list[IntentExample] = field(default_factory=list)
    synonyms: dict[str, str] = field(default_factory=dict)
    regexes: list[tuple[str, str]] = field(default_factory=list)
    lookups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    intents: dict[str, Where] = field(default_factory=dict)

    @property
    def retrieval(self) -> frozenset[str]:
        """The intents with names such as `faq/ask_hours`, without what follows the slash."""
        return frozenset(intent.split("/")[0] for intent in self.intents if "/" in intent)

    def add(self, section: Node) -> None:
        if not section.expect_list(self.problems):
            return
        for item in section.elements():
            if not item.expect_map(self.problems):
                continue
            item.warn_unknown_keys(_ITEM_KEYS, self.problems)
            kind = next((key for key in ("intent", "synonym", "regex", "lookup") if item.get(key) is not None), None)
            name = item.get(kind).text(self.problems) if kind else None  # type: ignore[union-attr]
            if not kind or not name:
                self.problems.error(item, "an item without `intent`, `synonym`, `regex` or `lookup`")
                continue
            self._add_item(kind, name, item)

    def _add_item(self, kind: str, name: str, item: Node) -> None:
        section = item.get("examples")
        if section is None or section.is_null:
            self.problems.error(item, f"the {kind} '{name}' has no examples", "Add `examples: |` and lines of `- …`.")
            return
        lines = list(_example_lines(section, self.problems))
        if kind == "intent":
            self.intents.setdefault(name, item.where)
            for text, where in lines:
                self._add_example(name, text, where)
        elif kind == "synonym":
            self.synonyms |= {text.lower(): name for text, _ in lines}
        elif kind == "lookup":
            values = (*self.lookups.get(name, ()), *(text for text, _ in lines))
            self.lookups[name] = tuple(dict.fromkeys(values))
        else:
            for pattern, where in lines:
                self._add_regex(name, pattern, where)

    def _add_example(self, intent: str, text: str, where: Where) -> None:
        plain, spans = split_annotations(text)
        for span in spans:
            surface = plain[span.start : span.end]
            if span.value != surface:
                self.synonyms.setdefault(surface.lower(), span.value)
        base, slash, _ = intent.partition("/")
        self.examples.append(
            IntentExample(
                text=plain,
                intent=base,
                response=intent if slash else None,
                entities=tuple(spans),
                language=language_of(plain, where.file),
                where=where,
            )
        )

    def _add_regex(self, name: str, pattern: str, where: Where) -> None:
        try:
            re.compile(pattern)
        except re.error as error:
            self.problems.error(where, f"the regex '{name}' cannot be compiled: {error}")
            return
        self.regexes.append((name, pattern))

    def finish(self) -> NluData:
        return NluData(
            examples=tuple(self.examples),
            synonyms=self.synonyms,
            regexes=tuple(self.regexes),
            lookups=self.lookups,
            retrieval=self.retrieval,
        )


def _example_lines(section: Node, problems: Problems) -> Iterator[tuple[str, Where]]:
    """Lines of a `|` block, or items of a list (`- text` or `- text: …`)."""
    if isinstance(section.value, str):
        # A block scalar's node stands on the line of its key; its first line is the next one.
        for offset, line in enumerate(str(section.value).splitlines(), start=1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            where = Where(file=section.file, line=(section.line or 0) + offset, field=section.path)
            if not stripped.startswith("-"):
                problems.error(where, f"an example must start with '- ': {stripped!r}")
                continue
            if text := stripped[1:].strip():
                yield text, where
    elif section.expect_list(problems):
        for element in section.elements():
            text_node = element.get("text") if element.is_map else element
            content = text_node.text(problems) if text_node else None
            if content and content.strip():
                yield content.strip().removeprefix("- ").strip(), element.where


def read_sentiment(files: Iterable[Path], problems: Problems) -> tuple[SentimentExample, ...]:
    """Rows of `sentiment/<language>.csv` with the header `text,label`."""
    return tuple(example for file in files for example in _sentiment_rows(file, problems))


def _sentiment_rows(file: Path, problems: Problems) -> Iterator[SentimentExample]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"text", "label"} <= set(reader.fieldnames or ()):
                problems.error(Where(file=file, line=1), "the header must be `text,label`")
                return
            for row in reader:
                where = Where(file=file, line=reader.line_num)
                text, label = (row["text"] or "").strip(), (row["label"] or "").strip()
                if label not in SENTIMENT_LABELS:
                    problems.error(where, f"unknown label '{label}'", f"One of {', '.join(SENTIMENT_LABELS)}.")
                elif text:
                    yield SentimentExample(text=text, label=label, language=language_of(text, file), where=where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.error(Where(file=file), f"the file cannot be read as CSV: {error}")
