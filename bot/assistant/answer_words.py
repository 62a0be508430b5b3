"""What stands around answers from documents (`answers` in brand.yml), by language: the brand's frames, and the phrases
that say where an answer is from. What they stand around is `bot.answers.compose`'s.

Invariant: a language that the file leaves out, and a phrase that it leaves out or says wrongly, has its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.assistant.source import Node, Problems
from bot.assistant.texts import LANGUAGES


@dataclass(frozen=True, kw_only=True)
class AnswerWords:
    """One language's.

    Attributes:
        source: below quoted words: which page they are from, its `{title}`.
        written: below a generator's words: that they are one's, and the page's `{title}`.
        offer: above pages to choose from.
        other_language: above a page in another language than the customer's.
        frames: texts with `{answer}`, and `{title}` where wanted; one of them stands around quoted words.
    """

    source: str
    written: str
    offer: str
    other_language: str
    frames: tuple[str, ...] = ("{answer}",)


DEFAULT_ANSWER_WORDS: Mapping[str, AnswerWords] = {
    "en": AnswerWords(
        source="(From our help page “{title}”)",
        written="(Written by our assistant from the help page “{title}”)",
        offer="I'm not certain I have that right. Is your question one of these?",
        other_language="Our help page on this is in another language; here it is as it stands:",
    ),
    "zh": AnswerWords(
        source="（摘自帮助页“{title}”）",
        written="（由智能助手根据帮助页“{title}”生成）",
        offer="不太确定您问的是哪一条，是下面这些吗？",
        other_language="这一条帮助内容目前没有中文版，原文如下：",
    ),
}
PHRASES: Mapping[str, tuple[str, ...]] = {
    "source": ("title",),
    "written": ("title",),
    "offer": (),
    "other_language": (),
}
"""The phrases by their keys, and what each has to have a place for."""
_FRAMES = "frames"
_WHAT = {"answer": "the answer", "title": "the page's title"}
_PLACE = re.compile(r"\{([^{}]*)\}")


def read_answer_words(node: Node | None, problems: Problems) -> Mapping[str, AnswerWords]:
    """The words of each language: `en: [frames]`, or `en: {frames: […], source: …}`."""
    if node is None or node.is_null or not node.expect_map(problems):
        return DEFAULT_ANSWER_WORDS
    node.warn_unknown_keys(frozenset(LANGUAGES), problems)
    return {
        language: words if (part := node.get(language)) is None else _read_language(part, words, problems)
        for language, words in DEFAULT_ANSWER_WORDS.items()
    }


def _read_language(node: Node, default: AnswerWords, problems: Problems) -> AnswerWords:
    said: dict[str, Any] = {}
    frames = node
    if node.is_map:
        node.warn_unknown_keys(frozenset({_FRAMES, *PHRASES}), problems)
        for key, places in PHRASES.items():
            part = node.get(key)
            if part is not None and not part.is_null and (text := _read_phrase(part, places, problems)):
                said[key] = text
        frames = node.get(_FRAMES) or Node(value=None, file=node.file, line=node.line)
    if not frames.is_null and (read := _read_frames(frames, problems)):
        said[_FRAMES] = read
    return AnswerWords(**{**vars(default), **said})


def _read_frames(node: Node, problems: Problems) -> tuple[str, ...]:
    found = []
    for each in node.elements() if node.is_list else [node]:
        text = each.text(problems)
        if text and _has_places(each, text, ("answer",), problems):
            found.append(text)
            for place in _unfilled(text, ("answer", "title")):
                problems.warning(each, f"nothing is filled in for `{place}`", "It is said as it stands.")
    return tuple(found)


def _read_phrase(node: Node, places: tuple[str, ...], problems: Problems) -> str | None:
    text = node.text(problems)
    if text is None or not _has_places(node, text, places, problems):
        return None
    if not text.strip():
        problems.error(node, "this phrase is empty", "Write what is to be said, or leave the key out.")
        return None
    unfilled = list(_unfilled(text, places))
    for place in unfilled:
        hint = f"Only `{{{places[0]}}}` is." if places else "Nothing is, in this phrase."
        problems.error(node, f"nothing is filled in for `{place}`", hint)
    return None if unfilled else text


def _has_places(node: Node, text: str, places: tuple[str, ...], problems: Problems) -> bool:
    missing = [place for place in places if f"{{{place}}}" not in text]
    for place in missing:
        hint = f"Write `{{{place}}}` where it is to stand."
        problems.error(node, f"the place of {_WHAT[place]} is missing", hint)
    return not missing


def _unfilled(text: str, places: Iterable[str]) -> Iterable[str]:
    return (found[0] for found in _PLACE.finditer(text) if found[1] not in places)
