"""Whether a reply is made of what the starter may say: its responses, its brand's words, its articles word for word.

Nothing here is shared with what screens messages or composes answers: files are read as text, and texts compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.assistant.loader import Assistant
from bot.turn_records import APOLOGY

VALUE = r"(.{1,2000}?)"
"""What an action fills in."""
ECHOED_WORDS, ECHOED_HAN = 5, 10
"""From so many words of the message, or Chinese characters, in a row on, a filled-in value repeats it."""
_HAN = re.compile(r"[\u3400-\u9fff]+")


@dataclass(frozen=True, kw_only=True)
class KnownTexts:
    fixed: frozenset[str]
    templates: Sequence[re.Pattern[str]]
    around_answers: Sequence[re.Pattern[str]]
    other_language: Sequence[str]
    articles: Sequence[str]

    @classmethod
    def of(cls, assistant: Assistant) -> KnownTexts:
        said = {str(one.body.get("text", "")) for group in assistant.domain.responses.values() for one in group}
        brand = assistant.brand
        said |= {*brand.disclosure_text.values(), *brand.greeting.values(), *APOLOGY.values()}
        said |= {words.offer for words in brand.answers.values()}
        frames = {frame for words in brand.answers.values() for frame in words.frames} | {"{answer}"}
        sources = [words.source for words in brand.answers.values()]
        articles = assistant.root / "knowledge"
        return cls(
            fixed=frozenset(said),
            templates=[_pattern(text) for text in sorted(said) if "{" in text],
            around_answers=[_pattern(f"{frame}\n{source}") for frame in sorted(frames) for source in sources],
            other_language=[words.other_language for words in brand.answers.values()],
            articles=[_letters(_words_of(path)) for path in sorted(articles.rglob("*.md"))],
        )

    def holds_all(self, replies: Sequence[str], message: str, *, is_generated: bool = False) -> bool:
        """Whether each is one of these texts. The last ones may be the paragraphs of one: REST says them one by one.

        A reply without text is a row of cards.
        """
        said = [reply for reply in replies if reply]

        def holds(text: str) -> bool:
            return self.holds(text, message, is_generated=is_generated)

        ends = range(len(said))
        return not said or any(all(map(holds, said[:end])) and holds("\n\n".join(said[end:])) for end in ends)

    def holds(self, reply: str, message: str, *, is_generated: bool = False) -> bool:
        """Whether the reply is one of these texts, and fills in nothing that repeats the message.

        `is_generated`: by a generator; any text may be, that does not repeat the message.
        """
        if reply in self.fixed:
            return True
        for template in self.templates:
            if found := template.fullmatch(reply):
                return not any(_is_echo(value, message) for value in found.groups())
        if is_generated:
            return not _is_echo(reply, message)
        return any(self._is_quoted(found[1]) for pattern in self.around_answers if (found := pattern.fullmatch(reply)))

    def _is_quoted(self, answer: str) -> bool:
        for words in self.other_language:
            answer = answer.removeprefix(f"{words}\n")
        said = _letters(answer)
        return bool(said) and any(said in article for article in self.articles)


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", text)
    return re.compile(VALUE.join(map(re.escape, parts)), re.DOTALL)


def _words_of(path: Path) -> str:
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "", text)


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _is_echo(value: str, message: str) -> bool:
    words, heard = re.findall(r"\w+", value.casefold()), " ".join(re.findall(r"\w+", message.casefold()))
    runs = (" ".join(words[start : start + ECHOED_WORDS]) for start in range(len(words) - ECHOED_WORDS + 1))
    return any(run in heard for run in runs) or _echoes_han(value, message)


def _echoes_han(value: str, message: str) -> bool:
    runs = (value[start : start + ECHOED_HAN] for start in range(len(value) - ECHOED_HAN + 1))
    return any(run in message for run in runs if _HAN.fullmatch(run))
