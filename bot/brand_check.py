"""Every text of an assistant that customers read, and what the bot said to them, held to the brand's voice.

Which words are the brand's is `bot.assistant.voice`'s to say; here it is known where texts stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.assistant.answer_words import DEFAULT_ANSWER_WORDS, PHRASES
from bot.assistant.brand import Brand
from bot.assistant.domain import Variation
from bot.assistant.loader import Assistant
from bot.assistant.source import Node, Problems, read_yaml
from bot.assistant.texts import Texts
from bot.assistant.voice import RULES, WORD_RULES, Finding, Rule, check_text, readable, score
from bot.dialogue.parsing import KNOWLEDGE
from bot.errors import Where
from bot.redaction import redact
from bot.storage.conversations import Reply
from models.languages import identify_language

LANGUAGE_SLOT = "language"
_UNDECIDED = "und"


@dataclass(frozen=True, kw_only=True)
class Wording:
    """One text, where it stands, and the rules that hold for it.

    Attributes:
        language: the one that its readers are meant to have; "und" where nothing tells.
        place: file and line, or the conversation.
        count: how often it was said; 1 for a text of a file.
    """

    text: str
    language: str
    place: str
    rules: frozenset[Rule] = RULES
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Checked:
    wording: Wording
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        about = {name: getattr(self.wording, name) for name in ("text", "language", "place", "count")}
        return {**about, "score": score(self.findings), "findings": [asdict(found) for found in self.findings]}


@dataclass(frozen=True, kw_only=True)
class LanguageScore:
    """`score` is the mean over the texts, each as often as it was said."""

    texts: int
    errors: int
    warnings: int
    score: float


@dataclass(frozen=True, kw_only=True)
class BrandReport:
    checked: Sequence[Checked]

    @property
    def found(self) -> Sequence[Checked]:
        """The texts that something was found in."""
        return [each for each in self.checked if each.findings]

    @property
    def errors(self) -> int:
        return sum(one.errors for one in self.scores().values())

    def scores(self) -> Mapping[str, LanguageScore]:
        languages = sorted({each.wording.language for each in self.checked})
        return {name: _sum_up([each for each in self.checked if each.wording.language == name]) for name in languages}

    def as_json(self) -> dict[str, Any]:
        scores = {language: asdict(one) for language, one in self.scores().items()}
        return {"found": [each.as_json() for each in self.found], "scores": scores}


def _sum_up(checked: Sequence[Checked]) -> LanguageScore:
    severities = Counter(found.severity for each in checked for found in each.findings)
    said = sum(each.wording.count for each in checked)
    return LanguageScore(
        texts=len(checked),
        errors=severities["error"],
        warnings=severities["warning"],
        score=round(sum(score(each.findings) * each.wording.count for each in checked) / said, 4),
    )


def check_brand(assistant: Assistant, replies: Iterable[Reply] = ()) -> BrandReport:
    """Hold the assistant's responses, its brand's own texts, and what was said, to the voice of `brand.yml`."""
    wordings = [*_responses(assistant), *_brand_texts(assistant), *_said(replies, assistant.language)]
    read = [each for each in wordings if readable(each.text).strip()]
    return BrandReport(checked=[_check(each, assistant.brand) for each in read])


def _check(wording: Wording, brand: Brand) -> Checked:
    return Checked(wording=wording, findings=check_text(wording.text, brand, wording.language, rules=wording.rules))


# ---- responses ----


def _responses(assistant: Assistant) -> Iterator[Wording]:
    for name, variations in assistant.domain.responses.items():
        seen: set[tuple[str, frozenset[Rule]]] = set()
        for variation in variations:
            meant = dict(variation.conditions).get(LANGUAGE_SLOT)
            place = _place(variation, name, assistant.root)
            for text, rules in _texts_of(variation.body):
                if meant is None and (text, rules) in seen:
                    continue  # the one for everybody else repeats another
                seen.add((text, rules))
                language = str(meant) if meant else _language_of(text, assistant.language)
                yield Wording(text=text, language=language, place=place, rules=rules)


def _place(variation: Variation, name: str, root: Path) -> str:
    return str(Where(file=variation.where.file.relative_to(root), line=variation.where.line, field=name))


def _texts_of(body: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[Rule]]]:
    """The message, which the brand says; what stands on buttons and cards, which customers say or which is a name."""
    if isinstance(text := body.get("text"), str):
        yield text, RULES
    for part in ("buttons", "quick_replies", "elements"):
        for each in body.get(part) or ():
            if isinstance(each, Mapping):
                labels = (each.get("title"), each.get("subtitle"))
                yield from ((label, WORD_RULES) for label in labels if isinstance(label, str))
                yield from _texts_of({"buttons": each.get("buttons")})


def _language_of(text: str, default: str | None) -> str:
    found = identify_language(text)
    return default or _UNDECIDED if found == _UNDECIDED else found


# ---- brand.yml ----


def _brand_texts(assistant: Assistant) -> Iterator[Wording]:
    file = assistant.root / "brand.yml"
    root = read_yaml(file, Problems()) if file.is_file() else None
    lines = {} if root is None else dict(_lines(root))
    for field, texts, rules in _texts_of_brand(assistant.brand, assistant.config.answers is not None):
        is_for_all = len(texts) > 1 and len(set(texts.values())) == 1
        for language, text in [*texts.items()][: 1 if is_for_all else None]:
            meant = _language_of(text, assistant.language) if is_for_all else language
            paths = (f"{field}.{language}", field, field.replace("[", ".frames["), field.rpartition("[")[0])
            line = next((lines[path] for path in paths if path in lines), None)
            place = Where(file=Path("brand.yml"), line=line, field=field)
            yield Wording(text=text, language=meant, place=str(place), rules=rules)


def _lines(node: Node) -> Iterator[tuple[str, int | None]]:
    for child in (*(child for _, child in node.items()), *node.elements()):
        yield child.path, child.line
        yield from _lines(child)


def _texts_of_brand(brand: Brand, documents_answer: bool) -> Iterator[tuple[str, Texts, frozenset[Rule]]]:
    """Field, texts by language, and their rules: those of parts of sentences are fewer. The platform's own words around
    answers are said only where documents answer."""
    yield "greeting", brand.greeting, RULES
    for number, greeting in enumerate(brand.greetings):
        yield f"greetings[{number}].text", greeting.text, RULES
    yield "disclosure.text", brand.disclosure_text, RULES
    yield "hand_off.reply_within", brand.reply_within, WORD_RULES
    for language, words in brand.answers.items():
        for number, frame in enumerate(words.frames):
            yield f"answers.{language}[{number}]", {language: frame}, RULES
        for name in PHRASES:
            text = getattr(words, name)
            if documents_answer or text != getattr(DEFAULT_ANSWER_WORDS[language], name):
                yield f"answers.{language}.{name}", {language: text}, RULES
    yield "voice.sign_off", brand.sign_offs, RULES
    if brand.hours and brand.hours.closed_text:
        yield "hours.closed_text", brand.hours.closed_text, RULES
    if brand.pre_chat:
        yield "pre_chat.text", brand.pre_chat.text, RULES
        for number, asked in enumerate(brand.pre_chat.fields):
            yield f"pre_chat.fields[{number}].label", asked.label, WORD_RULES
    if brand.csat:
        yield "csat.text", brand.csat.text, RULES


# ---- what was said ----


def _said(replies: Iterable[Reply], default: str | None) -> Iterator[Wording]:
    """Each text once, with the latest conversation that it was said in; without personal data."""
    same: dict[tuple[str, bool], list[Reply]] = {}
    for reply in replies:
        if isinstance(text := reply.event.get("text"), str):
            same.setdefault((redact(text), _is_quoted(reply.event)), []).append(reply)
    for (text, is_quoted), group in same.items():
        yield Wording(
            text=text,
            language=_language_of(text, group[0].language or default),
            place=group[0].sender_id,
            rules=WORD_RULES if is_quoted else RULES,
            count=len(group),
        )


def _is_quoted(event: Mapping[str, Any]) -> bool:
    """Whether a document's words stand in it."""
    known = (event.get("metadata") or {}).get(KNOWLEDGE) or {}
    return bool(known.get("kind") == "extracted")
