"""From the passages that were found to what the bot says: the sentences that answer, in the brand's frame, and whence.

Nothing is said here that a document does not say: sentences are taken over word for word, in their order. What stands
around them is the brand's (`brand.yml`: `answers`, `voice.sign_off`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.answers.documents import Passage, sentences
from bot.answers.knowledge import Hit
from bot.assistant.brand import Brand
from models.embeddings import Embedder

MOST_CHARS = {"zh": 220}
MOST_CHARS_ELSE = 480
"""A passage that is not longer is quoted whole: what was left out would be missed more often than read past."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said, and why it may be.

    Attributes:
        text: the whole reply.
        quoted: the document's own sentences in it; "" where a generator worded it.
        probability: that the passage answers the question, as the gate says.
        generation: what a generator did: its model, how long it took, and the problem where its words were not taken.
    """

    text: str
    quoted: str
    passage: Passage
    probability: float
    hits: Sequence[Hit]
    generation: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """What a message's parse data carries, and with it the conversation's log."""
        return {
            "text": self.text,
            "kind": "extracted" if self.quoted else "generated",
            "probability": round(self.probability, 4),
            **({"generation": dict(self.generation)} if self.generation else {}),
            "sources": [source_json(self.passage)],
            "passages": [{"id": hit.passage.id, "score": round(hit.score, 4)} for hit in self.hits],
        }


_PLACE = re.compile(r"\{(?:answer|title)\}")
MOST_OFFERED = 3
LABEL_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Passages to choose from by their labels, where the best may answer and may not: nothing is claimed."""

    text: str
    passages: Mapping[str, Passage]
    probability: float
    intent: str

    def to_json(self) -> dict[str, Any]:
        """As `Answer.to_json`; the buttons ask for a passage by its id."""
        return {
            "text": self.text,
            "buttons": [
                {"title": label, "payload": f'/{self.intent}{{"passage": "{passage.id}"}}'}
                for label, passage in self.passages.items()
            ],
            "kind": "offered",
            "probability": round(self.probability, 4),
        }


def offer(hits: Sequence[Hit], probability: float, text: str, intent: str) -> Offer:
    """The best passages under their documents' titles; two of one document under their headings.

    Args:
        text: what stands above them.
    """
    chosen = [hit.passage for hit in hits if hit.passage.response is None][:MOST_OFFERED]
    titles = [passage.title for passage in chosen]
    labels = [one.title if titles.count(one.title) == 1 else one.heading.rsplit(" › ", 1)[-1] for one in chosen]
    passages = {_short(label or one.title): one for label, one in reversed(list(zip(labels, chosen, strict=True)))}
    in_order = dict(reversed(list(passages.items())))
    return Offer(text=text, passages=in_order, probability=probability, intent=intent)


def _short(label: str) -> str:
    return label if len(label) <= LABEL_CHARS else label[: LABEL_CHARS - 1].rstrip() + "…"


def source_json(passage: Passage) -> dict[str, Any]:
    about = {"title": passage.title, "heading": passage.heading, "source": f"{passage.source}#{passage.anchor}"}
    return {**about, "url": passage.url} if passage.url else about


def compose(
    question: str, vector: NDArray[np.float32], hits: Sequence[Hit], probability: float, embedder: Embedder,
    language: str, brand: Brand,
) -> Answer:  # fmt: skip
    """Quote what answers best of the best passage.

    Args:
        language: the customer's.
        brand: whose words stand around it; the same question always gets the same frame.
    """
    passage = hits[0].passage
    quoted = excerpt(passage.text, vector, embedder, MOST_CHARS.get(passage.language, MOST_CHARS_ELSE))
    text = framed(question, quoted, passage, language, brand)
    return Answer(text=text, quoted=quoted, passage=passage, probability=probability, hits=hits)


def quote(passage: Passage, brand: Brand) -> Answer:
    """A whole passage that the customer chose."""
    text = framed(passage.id, passage.text, passage, passage.language, brand)
    return Answer(text=text, quoted=passage.text, passage=passage, probability=1.0, hits=())


def written_by(answer: Answer, text: str, language: str, generation: Mapping[str, Any], brand: Brand) -> Answer:
    """The answer in a generator's words, marked as such, and the brand's sign-off."""
    mark = brand.answer_words(language).written.replace("{title}", answer.passage.title)
    parts = [text, mark, brand.sign_offs.get(language, "")]
    return replace(answer, text="\n".join(filter(None, parts)), quoted="", generation=generation)


def without_marks(text: str, language: str, brand: Brand) -> str:
    """What was said, without the lines that `framed` and `written_by` put below it."""
    words = brand.answer_words(language)
    marks = "|".join(".*".join(map(re.escape, mark.split("{title}"))) for mark in (words.source, words.written))
    unsaid = re.compile(f"(?:{marks})|{re.escape(brand.sign_offs.get(language, ''))}")
    return "\n".join(line for line in text.split("\n") if not unsaid.fullmatch(line)) or text


def framed(question: str, quoted: str, passage: Passage, language: str, brand: Brand) -> str:
    """The quoted words between the brand's, where they are from, and the sign-off."""
    known = language if language in brand.answers else "en"
    words = brand.answer_words(known)
    place = hashlib.sha256(question.encode(errors="replace")).digest()[0] % len(words.frames)
    answer = quoted if passage.language == language else f"{words.other_language}\n{quoted}"
    inserted = {"{answer}": answer, "{title}": passage.title}
    # In one pass: a document may say "{title}" itself.
    text = _PLACE.sub(lambda found: inserted[found[0]], words.frames[place])
    parts = (text, words.source.replace("{title}", passage.title), brand.sign_offs.get(known))
    return "\n".join(part for part in parts if part)


def excerpt(text: str, vector: NDArray[np.float32], embedder: Embedder, most_chars: int) -> str:
    """The text, or the neighbouring sentences of it that answer best, in at most so many characters; a single one may
    be longer. A list stays whole, with the line that introduces it."""
    if len(text) <= most_chars:
        return text
    parts = _units(text)
    scores = embedder.passages(parts) @ vector
    first = last = int(scores.argmax())
    while True:
        room = most_chars - len(_joined(parts[first : last + 1])) - 1
        beside = [place for place in (first - 1, last + 1) if 0 <= place < len(parts) and len(parts[place]) <= room]
        if not beside:
            return _joined(parts[first : last + 1])
        best = max(beside, key=lambda place: float(scores[place]))
        first, last = min(first, best), max(last, best)


def _units(text: str) -> list[str]:
    """Sentences; the items of a list and the sentence before them are one."""
    units: list[str] = []
    for line in text.splitlines():
        if line.startswith("•") and units:
            units[-1] += f"\n{line}"
        elif line.strip():
            units += sentences(line)
    return units


def _joined(parts: Sequence[str]) -> str:
    text = ""
    for part in parts:
        if not text:
            text = part
        elif "\n•" in text:
            text += f"\n{part}"
        else:
            text += part if re.search(r"[\u3000-\u9fff，。！？；：]$", text) else f" {part}"
    return text
