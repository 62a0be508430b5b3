"""What an understanding model learns from and what it is tested on: the assistant's files and the reviewed log.

How it is trained is `training`'s, whether it may serve `bot.learning`'s. Invariants: nothing of the fixed tests enters
training; customers' words are redacted before they are learned from.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bot.assistant.loader import Assistant, TestConversation, load_tests
from bot.assistant.nlu_data import IntentExample, SentimentExample, read_sentiment
from bot.assistant.source import Problems
from bot.redaction import redact
from bot.settings import STARTER
from bot.storage.predictions import LabelledText
from training.annotations import EntitySpan

if TYPE_CHECKING:
    from models.entities import EntityRules
    from models.keywords import KeywordRules
    from models.value_options import ValueOptions
    from training.dataset import EntityValue, UnderstandingData, Utterance

Origin = Literal["files", "hold-out", "none"]

# One example in five is kept out of training where a project has no test messages, chosen by the text's own hash: the
# same texts at every training, whatever is added around them.
HOLD_OUT_ONE_IN = 5
# An intent, or a response of a retrieval intent, with fewer examples needs all of them.
HOLD_OUT_FROM = 10
# However the hashes of a small intent fall, half of its examples are trained on.
HOLD_OUT_AT_MOST_ONE_IN = 2
CONFLICTS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class FixedTests:
    """What every version of an assistant is measured on.

    Attributes:
        intents_from: the assistant's test files, or a hold-out of its training examples where it has none.
        keys: of every text that training must not see, as `text_of` makes them.
        notices: what a person should know about these tests.
    """

    intents: tuple[Utterance, ...]
    sentiment: tuple[Utterance, ...]
    conversations: tuple[TestConversation, ...]
    intents_from: Origin
    sentiment_from: Origin
    keys: frozenset[str]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Training data, and what a person should know about how it came together."""

    data: UnderstandingData
    reviewed: int
    notices: tuple[str, ...] = ()


def fixed_tests(assistant: Assistant) -> FixedTests:
    """The assistant's test files; for a task without any, a hold-out of its examples. Raises AssistantError."""
    files = load_tests(assistant.root)
    trained = {example.intent for example in assistant.nlu.examples}
    unknown = Counter(example.intent for example in files.nlu.examples if example.intent not in trained)
    intents, intents_from = _or_held_out(
        tuple(_intent_utterance(example) for example in files.nlu.examples if example.intent in trained),
        tuple(_intent_utterance(example) for example in assistant.nlu.examples),
    )
    sentiment, sentiment_from = _or_held_out(
        tuple(_sentiment_utterance(example) for example in files.sentiment),
        tuple(_sentiment_utterance(example) for example in _sentiment_examples(assistant)),
    )
    notices = [
        f"{count} test messages of the intent '{intent}' are left out: it has no training examples"
        for intent, count in sorted(unknown.items())
    ]
    if intents_from == "hold-out":
        notices.append(
            f"there is no {assistant.root / 'tests'}/nlu_*.yml, so {len(intents)} training examples are kept out of "
            "training and tested on; write test messages there, as customers write, to train on all examples"
        )
    elif intents_from == "none":
        notices.append(f"nothing to test on: write test messages into {assistant.root / 'tests'}/nlu_en.yml")
    # Those of left-out intents count as well: they may be learned one day.
    texts = (*(example.text for example in files.nlu.examples), *(u.text for u in (*intents, *sentiment)))
    return FixedTests(
        intents=intents,
        sentiment=sentiment,
        conversations=files.conversations,
        intents_from=intents_from,
        sentiment_from=sentiment_from,
        keys=frozenset(text_of(text) for text in texts),
        notices=tuple(notices),
    )


def training_data(assistant: Assistant, labels: Iterable[LabelledText] = ()) -> UnderstandingData:
    """The assistant's examples and the reviewed labels, each text once, nothing of the fixed tests."""
    return collect_lessons(assistant, labels, fixed_tests(assistant)).data


def collect_lessons(assistant: Assistant, labels: Iterable[LabelledText], tests: FixedTests) -> Lessons:
    """Put the training data together.

    A label counts after redaction. Where the files give the same text another intent, the files win: they are what the
    assistant's authors decided. Of two labels of one text the later wins.
    """
    from training.dataset import UnderstandingData, deduplicate

    own = [_intent_utterance(e) for e in assistant.nlu.examples if text_of(e.text) not in tests.keys]
    moods = [_sentiment_utterance(e) for e in _sentiment_examples(assistant) if text_of(e.text) not in tests.keys]
    reviewed = [label for label in labels if text_of(label.text) not in tests.keys]
    intents, notices = _beside_files(own, _latest(_reviewed(label, label.intent) for label in reviewed if label.intent))
    sentiments, mood_notices = _beside_files(
        moods, _latest(_reviewed(label, label.sentiment) for label in reviewed if label.sentiment)
    )
    intents, thin_notices = _without_thin(own, intents)
    return Lessons(
        data=UnderstandingData(
            intents=deduplicate([*own, *intents]),
            sentiment=deduplicate([*moods, *sentiments]),
            entities=_entity_rules(assistant),
            keywords=_keywords(assistant, own),
        ),
        reviewed=len(intents),
        notices=(*notices, *mood_notices, *thin_notices),
    )


def text_of(text: str) -> str:
    """What two texts share when they count as one: redacted, capitals and spaces aside."""
    from training.dataset import text_key

    return text_key(redact(text))


# ---- tests ----


def _or_held_out(files: tuple[Utterance, ...], examples: Sequence[Utterance]) -> tuple[tuple[Utterance, ...], Origin]:
    if files:
        return files, "files"
    held = tuple(_held_out(examples))
    return held, "hold-out" if held else "none"


def _held_out(examples: Sequence[Utterance]) -> Iterator[Utterance]:
    by_label: dict[str, dict[str, Utterance]] = defaultdict(dict)
    for example in examples:
        by_label[example.response or example.label].setdefault(text_of(example.text), example)
    for texts in by_label.values():
        if len(texts) >= HOLD_OUT_FROM:
            digests = sorted((int(hashlib.sha1(text.encode()).hexdigest(), 16), text) for text in texts)
            chosen = [text for digest, text in digests if digest % HOLD_OUT_ONE_IN == 0]
            yield from (texts[text] for text in chosen[: len(texts) // HOLD_OUT_AT_MOST_ONE_IN])


# ---- training ----


def _latest(utterances: Iterable[Utterance]) -> list[Utterance]:
    return list({text_of(utterance.text): utterance for utterance in utterances}.values())


def _beside_files(own: Sequence[Utterance], reviewed: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """The reviewed texts that the files lack, and a notice where the two disagree."""
    in_files = {text_of(utterance.text): utterance for utterance in own}
    new = [utterance for utterance in reviewed if text_of(utterance.text) not in in_files]
    conflicts = [
        f"  {known.source}: {utterance.text!r} is '{known.label}' there, '{utterance.label}' in the review"
        for utterance in reviewed
        if (known := in_files.get(text_of(utterance.text))) and known.label != utterance.label
    ]
    if not conflicts:
        return new, []
    head = f"{len(conflicts)} reviewed messages stand in the files with another label; the files count:"
    return new, ["\n".join([head, *conflicts[:CONFLICTS_SHOWN]])]


def _without_thin(own: Sequence[Utterance], reviewed: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """One message is not enough to learn an intent from; it waits for the second."""
    counts = Counter(utterance.label for utterance in (*own, *reviewed))
    thin = sorted({utterance.label for utterance in reviewed if counts[utterance.label] < 2})
    notices = [f"one reviewed message and no example: the intent '{label}' is not learned yet" for label in thin]
    return [utterance for utterance in reviewed if utterance.label not in thin], notices


def _reviewed(label: LabelledText, name: str) -> Utterance:
    from training.dataset import Utterance

    # One conversation on one side of every split: its messages resemble each other.
    group = f"conversation {label.conversation_id}"
    return Utterance(text=redact(label.text), label=name, language=label.language, source="review", group=group)


def _intent_utterance(example: IntentExample) -> Utterance:
    from training.dataset import Utterance

    values = tuple(_entity_value(example, span) for span in example.entities)
    source = f"{example.where.file.name}:{example.where.line}"
    return Utterance(
        text=example.text,
        label=example.intent,
        language=example.language,
        source=source,
        entities=values,
        response=example.response,
    )


def _entity_value(example: IntentExample, span: EntitySpan) -> EntityValue:
    from training.dataset import EntityValue

    surface = example.text[span.start : span.end]
    value = span.value if span.value != surface else None
    return EntityValue(
        entity=span.entity,
        text=surface,
        value=value,
        role=span.role,
        group=span.group,
        start=span.start,
        end=span.end,
    )


def _sentiment_examples(assistant: Assistant) -> tuple[SentimentExample, ...]:
    """The assistant's own; else the starter's, since how annoyed a customer sounds depends little on the shop."""
    if assistant.sentiment:
        return assistant.sentiment
    return read_sentiment(sorted((STARTER / "sentiment").glob("*.csv")), Problems())


def _sentiment_utterance(example: SentimentExample) -> Utterance:
    from training.dataset import Utterance

    source = f"{example.where.file.name}:{example.where.line}"
    return Utterance(text=example.text, label=example.label, language=example.language, source=source)


def _entity_rules(assistant: Assistant) -> EntityRules:
    """Regexes and lookups of declared entities; others are features of Rasa's pipeline and name nothing."""
    from models.entities import EntityRules, LookupValue

    nlu, entities, asked = assistant.nlu, assistant.domain.entities, assistant.regex
    return EntityRules(
        regexes=tuple(pair for pair in nlu.regexes if asked.use_regexes and pair[0] in entities),
        lookups=tuple(
            LookupValue(entity=name, text=value, exact=asked.case_sensitive, inside_words=not asked.use_word_boundaries)
            for name, values in nlu.lookups.items()
            if asked.use_lookup_tables and name in entities
            for value in values
        ),
        synonyms=dict(nlu.synonyms),
        values=_value_options(assistant),
        case_sensitive=asked.case_sensitive,
    )


def _keywords(assistant: Assistant, own: Sequence[Utterance]) -> KeywordRules | None:
    """The pipeline's KeywordIntentClassifier: examples of the files, no reviewed message, decide by their words."""
    from models.keywords import KeywordRules

    if assistant.keywords is None:
        return None
    examples = ((utterance.text, utterance.label) for utterance in own)
    return KeywordRules.of(examples, case_sensitive=assistant.keywords.case_sensitive)


def _value_options(assistant: Assistant) -> ValueOptions | None:
    """The pipeline's DucklingEntityExtractor, and the entities that `kefu.yml` names for its dimensions."""
    from models.value_options import ValueOptions

    duckling, config = assistant.duckling, assistant.config
    entities: dict[str, str] = {}
    if duckling is not None:
        entities |= {name: name for name in duckling.found_here}
    entities |= {dimension: entity for entity, dimension in config.values.items()}
    if not entities:
        return None
    locale = ((duckling and duckling.locale) or assistant.language).replace("-", "_").lower()
    return ValueOptions(
        entities=entities,
        timezone=(duckling and duckling.timezone) or config.timezone,
        month_first=locale == "en_us",
        yen=locale.startswith("ja"),
    )
