"""Whether a sentence that a generator wrote may be said: all that it states must stand in the sources.

Two checks, and both must pass. What can be looked up is looked up: numbers, amounts, dates, addresses and names. The
rest is a cross-encoder's judgement of the sentence against the sources, which sees a lost "not", another condition,
actor or direction; it was trained on pairs that differ in just that (`claims/` of an assistant). And a text as a whole
must be one that the brand would say.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bot.answers.documents import sentences
from bot.assistant.brand import Brand
from bot.assistant.voice import Rule, check_text
from models.base import ArtifactInvalid
from models.cross_encoder import CrossEncoder
from models.languages import identify_language
from models.numerals import CHINESE, DIGITS, ENGLISH, chinese_value, digits_value, english_value

THRESHOLDS = "support.json"
STOPPED_TRUE = 0.05
"""Of supported sentences this share may be stopped, where the thresholds are fitted."""
DEFAULT_THRESHOLD = 0.0
"""Log-odds of support, where too few pairs were held out to fit one."""
FEWEST_HELD_OUT = 20
MOST_LONGER = 1.5
"""A text and its rephrasing may differ so much in length. A small generator drops sentences, which the judge seldom
sees: of 17 rephrasings that passed without this the 10 that it stops had all lost something, and 6 of the others were
right."""

Kind = Literal["number", "link", "name", "language", "support", "brand", "lost", "length", "question"]


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Why a sentence must not be said. `words`: what in it is in no source, or what of the source is lost; "" where it
    is the whole."""

    kind: Kind
    words: str = ""


def script_of_language(language: str) -> str:
    return "han" if language == "zh" else "other"


class Guard:
    """Judges sentences. `thresholds`: least log-odds of support, by script ("han", "other")."""

    def __init__(self, judge: CrossEncoder, thresholds: Mapping[str, float]) -> None:
        self._judge, self._thresholds = judge, thresholds

    @classmethod
    def load(cls, judge: CrossEncoder, folder: Path) -> Guard:
        """With the thresholds beside the cross-encoder's files. Raises ArtifactInvalid."""
        try:
            return cls(judge, json.loads((folder / THRESHOLDS).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ArtifactInvalid(f"{folder}: {error}; kefu knowledge tune") from error

    def objection(self, sentence: str, source: str, question: str, language: str) -> Objection | None:
        """The first reason not to say this; None where it may be said.

        Args:
            source: the passage it was written from, with its headings.
            question: the customer's own words, now and just before: what stands there may be said back.
            language: the customer's.
        """
        if found := invented(sentence, [source, question]):
            return found
        if identify_language(sentence) not in (language, "und"):
            return Objection(kind="language")
        score = float(self._judge.score("supports", [(sentence, source)])[0])
        return None if score >= least_support(self._thresholds, language) else Objection(kind="support")

    def loss(self, original: str, rephrased: str, inserted: Sequence[str], language: str) -> Objection | None:
        """What a rephrasing leaves out of a text: each sentence of the text must follow from it, as its own must from
        the text; it must be about as long, and ask as often.

        Args:
            inserted: words of the text that must stand in it as they are.
        """
        shorter, longer = sorted((len(original), len(rephrased)))
        if longer > MOST_LONGER * shorter:
            return Objection(kind="length")
        known = _folded(rephrased)
        for words in inserted:
            if _folded(words) not in known:
                return Objection(kind="lost", words=words)
        if _questions(original) != _questions(rephrased):
            return Objection(kind="question")
        for sentence in sentences(original):
            if found := self.objection(sentence, rephrased, "", language):
                return Objection(kind="lost", words=found.words or sentence)
        return None


def _questions(text: str) -> int:
    return _LINK.sub(" ", _folded(text)).count("?")


def least_support(thresholds: Mapping[str, float], language: str) -> float:
    """The log-odds from which on a sentence in that language is supported."""
    return thresholds.get(script_of_language(language), DEFAULT_THRESHOLD)


def fit_thresholds(judge: CrossEncoder, held_out: Iterable[tuple[str, str]]) -> dict[str, float]:
    """The thresholds that stop no more than STOPPED_TRUE of sentences that their sources support."""
    supported: dict[str, list[tuple[str, str]]] = {}
    for sentence, source in held_out:
        supported.setdefault(script_of_language(identify_language(sentence)), []).append((sentence, source))
    return {
        script: round(float(np.quantile(judge.score("supports", pairs), STOPPED_TRUE)), 4)
        for script, pairs in supported.items()
        if len(pairs) >= FEWEST_HELD_OUT
    }


# ---- what the brand does not say ----

BRAND_RULES: frozenset[Rule] = frozenset({"forbidden", "competitor", "claim", "emoji", "formality"})
"""What `kefu brand check` finds and a generator must not write, whatever the source says: that is quoted then."""
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200c\u200e\u200f\u2060-\u2064\ufeff*_~]|(?<=\w)\u200d(?=\w)")
"""What a reader does not see in a word; the joiner between emoji is none."""
_HIDING = str.maketrans(dict.fromkeys("`{}", " "))
"""The voice does not read `code` and {slots}, which are an author's; a generator must not hide words there."""


def unlike_brand(text: str, brand: Brand, language: str) -> Objection | None:
    """The first thing in a generator's text that the brand does not say."""
    found = check_text(_INVISIBLE.sub("", text).translate(_HIDING), brand, language, rules=BRAND_RULES)
    return Objection(kind="brand", words=found[0].words) if found else None


# ---- what can be looked up ----

_LINK = re.compile(r"(?:https?://|www\.)[^\s<>，。）)]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b[\w-]+(?:\.[A-Za-z]{2,})+\b")
_UNITS = {
    "euro": r"€|euros?\b|eur\b|欧元?",
    "yuan": r"¥|￥|yuan\b|rmb\b|cny\b|元|块",
    "dollar": r"\$|dollars?\b|usd\b|美元",
    "percent": r"%|percent\b|％",
    "day": r"(?:working |business |week)?days?\b|天|个工作日|日",
    "week": r"weeks?\b|周|个?星期",
    "month": r"months?\b|个?月",
    "year": r"years?\b|年",
    "hour": r"hours?\b|个?小时",
}
_NUMBER = re.compile(rf"{DIGITS}|{CHINESE}|\b{ENGLISH}", re.IGNORECASE)
_AFTER = re.compile("|".join(rf"(?P<{name}>[\s-]*(?:{unit}))" for name, unit in _UNITS.items()), re.IGNORECASE)
_BEFORE = re.compile(r"(?:(?P<euro>€)|(?P<yuan>[¥￥])|(?P<dollar>\$))\s?$")
_NAME = re.compile(r"(?<![.!?:\n•] )(?<!^)(?<![“\"'(])\b[A-Z][\w’'-]*[a-z][\w’'-]*|\b[A-Z]{2,}\b")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_COMMON_NAMES = frozenset({"I", "I'm", "I'll", "I've", "I'd", "OK"})
_MULTIPLES = re.compile(r"\b(?:double|twice|triple|half|halve)\b|一半|双倍|[两三]倍|减半", re.IGNORECASE)
_LOOSE = frozenset({"one", "一", "a hundred", "a thousand", "万一", "一百", "千万", "百", "万"})
"""Words that are numbers only where a unit follows: "the big one", 万一."""


@dataclass(frozen=True, kw_only=True)
class _Amount:
    words: str
    value: float
    unit: str | None


def invented(sentence: str, known: Sequence[str]) -> Objection | None:
    """The first link, number or name of the sentence that is in none of the known texts. A number with a unit must
    stand there with that unit. Names are told by their capitals, but for a sentence's first word; Chinese ones are not.
    """
    text, sources = _folded(sentence), "\n".join(map(_folded, known))
    links = {_plain_link(link) for link in _LINK.findall(sources)}
    for link in _LINK.findall(text):
        if _plain_link(link) not in links:
            return Objection(kind="link", words=link)
    stated = amounts(sources)
    for amount in amounts(_LINK.sub(" ", text)):
        if not any(_is_same(amount, other) for other in stated):
            return Objection(kind="number", words=amount.words)
    multiples = {word.casefold() for word in _MULTIPLES.findall(sources)}
    for word in _MULTIPLES.findall(text):
        if word.casefold() not in multiples:
            return Objection(kind="number", words=word)
    words_known = {word.casefold() for word in _WORD.findall(sources)}
    for name in _NAME.findall(text):
        if name not in _COMMON_NAMES and not _is_known(name, words_known):
            return Objection(kind="name", words=name)
    return None


def _plain_link(link: str) -> str:
    return re.sub(r"^(?:https?://)?(?:www\.)?", "", link.casefold()).rstrip("./")


def _is_same(amount: _Amount, other: _Amount) -> bool:
    return amount.value == other.value and (amount.unit is None or amount.unit == other.unit)


def _is_known(name: str, words: set[str]) -> bool:
    plain = name.casefold().replace("’", "'").removesuffix("'s")
    return {plain, plain.removesuffix("s"), f"{plain}s"} & words != set() or all(
        part in words for part in re.split(r"[-']", plain)
    )


def amounts(text: str) -> list[_Amount]:
    """Numbers with their units, in order; digits, English words and Chinese numerals alike. In "3–5 days" both have
    the unit."""
    found: list[_Amount] = []
    ranged = 0  # from there on amounts wait for the unit of a range's end
    for match in _NUMBER.finditer(text):
        unit = _unit(text, match)
        written = match[0].lower()
        value = None if written in _LOOSE and unit is None else _value(written)
        if value is None:
            continue
        if unit is not None and found and re.fullmatch(r"\s?(?:[-–~至到]|to|or|and)\s?", text[ranged : match.start()]):
            last = found[-1]
            found[-1] = _Amount(words=last.words, value=last.value, unit=last.unit or unit)
        found.append(_Amount(words=match[0], value=value, unit=unit))
        ranged = match.end()
    return found


def _unit(text: str, match: re.Match[str]) -> str | None:
    after, before = _AFTER.match(text, match.end()), _BEFORE.search(text[: match.start()])
    return (before.lastgroup if before else None) or (after.lastgroup if after else None)


def _value(written: str) -> float | None:
    if written[0].isdigit() and (value := digits_value(written)) is not None:
        return value
    return {"一": 1.0}.get(written) or (english_value(written) if written.isascii() else chinese_value(written))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("’", "'")
