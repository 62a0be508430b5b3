"""Values and Protocols every model shares. No inference, no training here.

Invariant: values are frozen; confidences are probabilities after calibration; a value names the model version that
made it.

ModelError
├── ModelUnavailable     no model, or no answer in time; safe to retry
├── ReadingFailed        the model broke on this very text; trying again will not help
├── ArtifactInvalid      the version folder is incomplete, altered or of another schema
└── BaseModelNotFound    a base model's name leads to no weights
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

# The one kind of model so far: what a version folder, and the registry's path to it, are named by.
KIND = "understanding"

Sentiment = Literal["negative", "neutral", "positive"]
SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
# Intents whose examples stand for "none of the others": how an assistant gives what it cannot help with its own answer.
OUT_OF_SCOPE_INTENTS = frozenset({"out_of_scope", "oos"})


class ModelError(Exception):
    """A model could not be used."""


class ModelUnavailable(ModelError):
    """No model answers; safe to retry."""


class ReadingFailed(ModelError):
    """The model broke on this text."""


class ArtifactInvalid(ModelError):
    """The model folder is incomplete, altered or of another schema."""


class BaseModelNotFound(ModelError):
    """The base model's name leads to no weights."""


@dataclass(frozen=True, kw_only=True)
class IntentScore:
    name: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A span of the text and its value; `start`/`end` are code-point offsets, end exclusive.

    `additional_info` is what Duckling says of a value beside it: its grain, its unit, the ends of an interval.
    """

    entity: str
    value: object
    start: int
    end: int
    role: str | None = None
    group: str | None = None
    confidence: float | None = None
    extractor: str = "RegexEntityExtractor"
    additional_info: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Understanding:
    """What the model reads in one utterance.

    Attributes:
        ranking: all intents, best first; probabilities sum to 1 ± 1e-5, temperature-scaled.
        also: other wishes in the same message, in the order said ("refund, and where is my other parcel?").
        selected: retrieval intent → its responses (`faq/ask_hours`), best first, as probabilities among themselves; of
            every retrieval intent, whether or not the message has that intent.
        is_code_switched: Chinese and Latin words in one message ("我的order到哪了"); `language` is the prevailing one.
        out_of_scope_score: higher is further from the training data; compare with `is_out_of_scope`'s threshold in
        the manifest.
        language: BCP-47 primary tag ("en", "zh", …) or "und" where the text does not tell ("A-1", an emoji, "OK").
    """

    text: str
    ranking: tuple[IntentScore, ...]
    out_of_scope_score: float
    is_out_of_scope: bool
    sentiment: Sentiment
    sentiment_confidence: float
    language: str
    model_version: str
    entities: tuple[Entity, ...] = ()
    also: tuple[IntentScore, ...] = ()
    selected: Mapping[str, tuple[IntentScore, ...]] = field(default_factory=dict)
    is_code_switched: bool = False
    latency_ms: float = 0.0

    @property
    def intent(self) -> IntentScore:
        return self.ranking[0]


class Understander(Protocol):
    """Anything that reads utterances: the ONNX model, a scripted one in tests, a remote server later."""

    @property
    def version(self) -> str: ...

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Read B utterances, in input order. Raises ModelUnavailable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Probe:
    """An input with the output the artifact gave when it was made; replayed before a version serves."""

    text: str
    intent: str
    confidence: float
    sentiment: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a version folder holds and how it was made (`manifest.json`, schema 1).

    `files` maps file name → sha256 hex; `metrics`, `thresholds` and `training` are flat JSON for people and gates.
    """

    version: str
    kind: str
    assistant_id: str
    created_at: str
    base: str
    base_source: Literal["wheel", "hub", "folder", "ngram", "none"]
    base_sha256: str
    recipe: str
    fingerprint: str
    data_sha256: str
    languages: tuple[str, ...]
    intents: tuple[str, ...]
    sentiments: tuple[str, ...]
    temperature: float
    thresholds: dict[str, float]
    metrics: dict[str, float]
    training: dict[str, object]
    probes: tuple[Probe, ...]
    files: dict[str, str] = field(default_factory=dict)
    schema: int = 1
