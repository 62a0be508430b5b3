"""Keywords that name an intent: examples that stand in a message word for word, as Rasa's KeywordIntentClassifier.

Invariant: a keyword means one intent; what would mean two is left out when the rules are made.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import regex

from models.base import ArtifactInvalid

# Words between blanks; where a script has none, every character is one.
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]|(?:(?![\p{Han}\p{Hiragana}\p{Katakana}])\w)+")


@dataclass(frozen=True, kw_only=True)
class KeywordRules:
    """`intents`: keyword → intent, in the order in which they are tried; keywords folded unless `case_sensitive`."""

    intents: Mapping[str, str]
    case_sensitive: bool = True

    @classmethod
    def of(cls, examples: Iterable[tuple[str, str]], *, case_sensitive: bool) -> KeywordRules:
        """The keywords of (text, intent) examples.

        As in Rasa, a text of two intents is no keyword, nor is one that stands inside an example of another intent.
        """
        meant: dict[str, set[str]] = defaultdict(set)
        for text, intent in examples:
            if words := list(_WORD.finditer(text if case_sensitive else text.casefold())):
                meant[words[0].string[words[0].start() : words[-1].end()]].add(intent)
        every = cls(intents=dict.fromkeys(meant, ""), case_sensitive=case_sensitive)
        for keyword in list(meant):
            for inside in every.standing_in(keyword):
                meant[inside] |= meant[keyword]
        certain = {keyword: next(iter(intents)) for keyword, intents in meant.items() if len(intents) == 1}
        return cls(intents=certain, case_sensitive=case_sensitive)

    @cached_property
    def _order(self) -> Mapping[str, int]:
        return {keyword: number for number, keyword in enumerate(self.intents)}

    @cached_property
    def _longest(self) -> int:
        return max((len(_WORD.findall(keyword)) for keyword in self.intents), default=0)

    def standing_in(self, text: str) -> Iterator[str]:
        """The keywords that stand in a text as whole words."""
        folded = text if self.case_sensitive else text.casefold()
        words = [found.span() for found in _WORD.finditer(folded)]
        for first, (start, _) in enumerate(words):
            for _, end in words[first : first + self._longest]:
                if (piece := folded[start:end]) in self._order:
                    yield piece

    def intent_of(self, text: str) -> str | None:
        """The intent of the first keyword, in the order of the rules, that stands in the text."""
        found = min(self.standing_in(text), key=self._order.__getitem__, default=None)
        return None if found is None else self.intents[found]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> KeywordRules:
        """Raises ArtifactInvalid where the file is none of `save`'s."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            intents = {str(keyword): str(intent) for keyword, intent in raw["intents"].items()}
            return cls(intents=intents, case_sensitive=bool(raw["case_sensitive"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactInvalid(f"{path}: not keywords ({error}); train again") from error
