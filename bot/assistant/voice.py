"""Whether a text sounds like the brand: its findings and a score, by `voice` of brand.yml. Pure.

Texts are read NFKC-folded; links, e-mail addresses, `{slots}` and `code` are not read at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import regex

from bot.assistant.brand import Brand
from bot.assistant.brand_voice import Voice
from bot.assistant.manners import MANNERS, OTHER_PERSON
from models.languages import identify_language

Rule = Literal[
    "forbidden", "competitor", "claim", "preferred", "length", "emoji", "exclamation", "formality", "person", "language"
]
Severity = Literal["error", "warning"]
RULES: frozenset[Rule] = frozenset(get_args(Rule))
WORD_RULES: frozenset[Rule] = frozenset({"forbidden", "competitor", "claim", "preferred"})
"""What counts in words that the brand does not say itself: those of a document, or of a button that customers press."""
WEIGHTS: Mapping[Severity, float] = {"error": 0.5, "warning": 0.1}
EXCLAMATION_MARKS = {"low": 0, "medium": 1, "high": 2}
EMOJI = {"none": 0, "few": 2}
QUOTED_CHARS = 40
"""What stands between quotation marks and is no longer is a name or a label; it addresses nobody."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in a text that is not the brand's. An error must not be said; a warning should not."""

    rule: Rule
    words: str
    message: str
    severity: Severity = "warning"


def check_text(text: str, brand: Brand, language: str, *, rules: Collection[Rule] = RULES) -> tuple[Finding, ...]:
    """What in the text is not as `brand.yml` says, each thing once; without regard to what `{slots}` will hold.

    Args:
        language: the one that the text ought to be in; "und" where that is not known.
    """
    read, voice = readable(text), brand.voice(language)
    base = language.partition("-")[0]
    return tuple(found for rule, find in _FIND.items() if rule in rules for found in find(read, voice, base))


def score(findings: Iterable[Finding]) -> float:
    """How much a text sounds like the brand: 1 less half for each error and a tenth for each warning, at least 0."""
    return max(0.0, round(1.0 - sum(WEIGHTS[found.severity] for found in findings), 4))


_UNREAD = regex.compile(
    r"```.*?```|`[^`\n]*`|https?://[!-~]+|\bwww\.[!-~]+|[\w.%+-]{1,64}@[\w-]+(?:\.[\w-]+)+|\{\{|\}\}|\{[^\n{}]+\}",
    regex.DOTALL | regex.IGNORECASE | regex.ASCII,
)
_LABEL = regex.compile(rf"“[^”]{{1,{QUOTED_CHARS}}}”|「[^」]{{1,{QUOTED_CHARS}}}」|\"[^\"\n]{{1,{QUOTED_CHARS}}}\"")


def readable(text: str) -> str:
    """The text as the rules read it: folded, with spaces where nobody reads."""
    folded = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _UNREAD.sub(_blank, folded)


def _blank(found: regex.Match[str]) -> str:
    return " " * len(found[0])


# ---- words ----


def _forbidden(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    for words in _all_in(text, voice.forbid):
        message = f"The brand does not say “{words}”: say it in other words."
        yield Finding(rule="forbidden", words=words, message=message, severity="error")


def _competitors(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    for words in _all_in(text, voice.competitors):
        message = f"“{words}” is a competitor: speak of your own offer."
        yield Finding(rule="competitor", words=words, message=message, severity="error")


def _claims(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    for words in _all_in(text, voice.claims_need_approval):
        message = (
            f"“{words}” is a claim that somebody has to approve: leave it out, or take it off the list once it is."
        )
        yield Finding(rule="claim", words=words, message=message, severity="error")


def _preferred(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    for word, better in voice.prefer.items():
        rest = _words(better).sub(_blank, text)  # “team” may be preferred as “our team”
        for words in _all_in(rest, (word,)):
            yield Finding(rule="preferred", words=words, message=f"Say “{better}” instead of “{words}”.")


def _all_in(text: str, words: Iterable[str]) -> Iterator[str]:
    return (found[0] for word in words if (found := _words(word).search(text)))


@lru_cache(maxsize=4096)
def _words(words: str) -> regex.Pattern[str]:
    """The words where they stand alone. Chinese is written without spaces: there no boundary is asked for."""
    folded = unicodedata.normalize("NFKC", words).replace("’", "'").strip()
    pattern = r"\s+".join(regex.escape(part) for part in folded.split())
    letter = r"[\w--[\p{Han}\p{Hiragana}\p{Katakana}]]"
    before = rf"(?<!{letter})" if regex.match(letter, folded, regex.V1) else ""
    after = rf"(?!{letter})" if regex.match(letter, folded[-1:], regex.V1) else ""
    return regex.compile(f"{before}{pattern}{after}", regex.V1 | regex.IGNORECASE)


# ---- how much ----

_WORD = regex.compile(r"[\p{L}\p{N}]+(?:['\-.,:][\p{L}\p{N}]+)*")
_PICTURE = regex.compile(
    r"\p{RI}{2}|[\d#*]\ufe0f?\u20e3"
    r"|(?:[\p{Emoji_Presentation}--\p{RI}]|[\u2600-\u27bf&&\p{Extended_Pictographic}]|[\p{Emoji}--[\d#*]]\ufe0f)"
    r"[\U0001f3fb-\U0001f3ff\ufe0f]*(?:\u200d\p{Extended_Pictographic}[\U0001f3fb-\U0001f3ff\ufe0f]*)*",
    regex.V1,
)
"""Flags, keycaps, and pictures with what belongs to them: a family is one."""


def _length(text: str, voice: Voice, language: str) -> Iterator[Finding]:
    is_chinese = language == "zh"
    length = sum(not char.isspace() for char in text) if is_chinese else len(_WORD.findall(text))
    if voice.length is not None and length > voice.length:
        said = f"{length} {'characters' if is_chinese else 'words'}"
        yield Finding(rule="length", words=said, message=f"{said}, at most {voice.length} are wanted: say less.")


def _emoji(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    found = _PICTURE.findall(text)
    most = EMOJI.get(voice.emoji)
    if most is not None and len(found) > most:
        message = f"{len(found)} emoji, at most {most} are wanted: take some out."
        yield Finding(rule="emoji", words="".join(found), message=message)


def _exclamation(text: str, voice: Voice, _: str) -> Iterator[Finding]:
    count, most = text.count("!"), EXCLAMATION_MARKS[voice.warmth]
    if count > most:
        message = (
            f"{count} exclamation marks, at most {most} fit a {voice.warmth} warmth: end sentences with a full stop."
        )
        yield Finding(rule="exclamation", words="!" * count, message=message)


# ---- manner ----


def _formality(text: str, voice: Voice, language: str) -> Iterator[Finding]:
    spoken = _LABEL.sub(_blank, text)
    for manner in MANNERS.get(language, ()):
        if voice.formality in manner.clashes_with:
            for words in _each_once(manner.pattern, spoken):
                yield Finding(rule="formality", words=words, message=manner.message.format(words=words))


def _person(text: str, voice: Voice, language: str) -> Iterator[Finding]:
    if voice.person is None or (other := OTHER_PERSON.get((language, voice.person))) is None:
        return
    for words in _each_once(other.pattern, _LABEL.sub(_blank, text)):
        message = f"“{words}” is another person: the brand speaks as “{other.wanted}”."
        yield Finding(rule="person", words=words, message=message)


def _each_once(pattern: regex.Pattern[str], text: str) -> Iterable[str]:
    seen: dict[str, str] = {}
    for found in pattern.finditer(text):
        seen.setdefault(found[0].casefold(), found[0])
    return seen.values()


# ---- language ----


def _language(text: str, _: Voice, language: str) -> Iterator[Finding]:
    written = identify_language(text)
    if "und" not in (written, language) and written != language:
        message = f"This is written in “{written}” and said to customers who write “{language}”: translate it."
        yield Finding(rule="language", words=text.strip()[:QUOTED_CHARS], message=message, severity="error")


_FIND: Mapping[Rule, Callable[[str, Voice, str], Iterator[Finding]]] = {
    "forbidden": _forbidden,
    "competitor": _competitors,
    "claim": _claims,
    "preferred": _preferred,
    "length": _length,
    "emoji": _emoji,
    "exclamation": _exclamation,
    "formality": _formality,
    "person": _person,
    "language": _language,
}
