"""A trained version, loaded to read utterances: intent, sentiment, entities, language, out-of-scope.

No training, no queue, no choice of version. Imports numpy, tokenizers, onnxruntime and regex, never a training library.
Invariant: whatever loads has passed its hashes, and one reader answers with one version.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.artifact import read_manifest, verify
from models.base import KIND, SENTIMENTS, ArtifactInvalid, Entity, IntentScore, Manifest, Sentiment, Understanding
from models.clauses import PartsReader, Several, clauses, several_from
from models.encoder import ENCODER_ONNX, Encoder
from models.entities import EntityMatcher, EntityRules
from models.heads import Features, Floats, LinearHead, head_from, load_arrays
from models.keywords import KeywordRules
from models.languages import identify_language, is_code_switched, says_something
from models.ngrams import NgramVocabulary
from models.scope import ScopeScorer, scorer_from
from models.selection import selectors_from
from models.tagging import CONTEXT, Tagger, joined, tagger_from

HEADS = "heads.npz"
NGRAMS = "ngrams.npz"
ENTITIES = "entities.json"
KEYWORDS = "keywords.json"
# The threshold of that name: above it an utterance is out of scope.
OUT_OF_SCOPE = "out_of_scope"

# An answer may differ between processors by rounding; a probe that moves more says that something else is broken.
PROBE_TOLERANCE = 0.05
# Of three moods: below this, rounding alone may tip which one is named.
SURE_OF_MOOD = 0.55


@dataclass(frozen=True, kw_only=True)
class TrainedUnderstander:
    """One version in memory. `read` is pure and thread-safe. `selectors`: retrieval intent → head of its responses."""

    manifest: Manifest
    encoder: Encoder | None
    vocabulary: NgramVocabulary
    intent_head: LinearHead
    sentiment_head: LinearHead | None
    scope: ScopeScorer
    entities: EntityMatcher
    tagger: Tagger | None = None
    several: Several | None = None
    selectors: Mapping[str, LinearHead] = field(default_factory=dict)
    keywords: KeywordRules | None = None

    @property
    def version(self) -> str:
        return self.manifest.version

    def read(self, texts: Sequence[str]) -> list[Understanding]:
        """Read B utterances, in input order.

        Entities' offsets refer to the text as passed; features see its NFC form.
        """
        if not texts:
            return []
        started = time.perf_counter()
        features = self.features(texts)
        logits = self.intent_head.logits(features)
        chances = self.intent_head.probabilities(logits)
        beside = self._beside(features, chances)
        distances = self.scope.score(logits, features)
        sentiments = self._sentiments(texts, features)
        entities = self._entities(texts, features)
        selected = {name: head.probabilities(head.logits(features)) for name, head in self.selectors.items()}
        keyed = [self.keywords.intent_of(text) if self.keywords else None for text in texts]
        latency_ms = (time.perf_counter() - started) * 1000
        return [
            Understanding(
                text=text,
                ranking=_with_first(keyed[row], _ranking(self.intent_head.labels, chances[row])),
                also=beside[row],
                selected={name: _ranking(self.selectors[name].labels, rows[row]) for name, rows in selected.items()},
                out_of_scope_score=float(distances[row]),
                is_out_of_scope=not keyed[row] and bool(distances[row] > self.manifest.thresholds[OUT_OF_SCOPE]),
                sentiment=sentiments[row][0],
                sentiment_confidence=sentiments[row][1],
                language=identify_language(text),
                is_code_switched=is_code_switched(text),
                model_version=self.version,
                entities=entities[row],
                latency_ms=latency_ms,
            )
            for row, text in enumerate(texts)
        ]

    def features(self, texts: Sequence[str]) -> Features:
        """What the heads read of B texts, with token vectors where there is a tagger."""
        plain = [unicodedata.normalize("NFC", text) for text in texts]
        sparse = [self.vocabulary.vector(text) for text in plain]
        if self.encoder is None:
            return Features(dense=None, sparse=sparse, texts=plain)
        reads_within = self.tagger is not None or self.several is not None
        tokens = self.encoder.tokens(plain, with_spans=reads_within)
        read = self.encoder.run(tokens, with_hidden=reads_within)
        return Features(dense=read.vectors, sparse=sparse, texts=plain, tokens=tokens, hidden=read.hidden)

    def replay_probes(self) -> list[str]:
        """Read the manifest's probes again; returns what differs, one line each; empty when all is as it was."""
        probes = self.manifest.probes
        wrong = []
        for probe, now in zip(probes, self.read([probe.text for probe in probes]), strict=True):
            drift = abs(now.intent.confidence - probe.confidence)
            is_other_mood = now.sentiment != probe.sentiment and now.sentiment_confidence > SURE_OF_MOOD
            if now.intent.name != probe.intent or drift > PROBE_TOLERANCE or is_other_mood:
                wrong.append(
                    f"{probe.text!r}: was {probe.intent} {probe.confidence:.3f} {probe.sentiment}, "
                    f"is {now.intent.name} {now.intent.confidence:.3f} {now.sentiment}"
                )
        return wrong

    def _beside(self, features: Features, chances: Floats) -> list[tuple[IntentScore, ...]]:
        """What each message wants beside its main intent."""
        out: list[tuple[IntentScore, ...]] = [()] * len(features.texts)
        if self.several is None:
            return out
        reader = PartsReader(head=self.intent_head, vocabulary=self.vocabulary, encoder=self.encoder)
        mains = chances.argmax(axis=1).tolist()
        places = {row: found for row, text in enumerate(features.texts) if (found := clauses(text))}
        glances = reader.glances(features, places)
        worth = [row for row, glance in glances.items() if self.several.is_worth_reading(mains[row], glance)]
        parts = [features.texts[row][start:end] for row in worth for start, end in places[row]]
        read = iter(reader.read(parts)) if parts else iter(())
        for row in worth:
            wishes = self.several.beside(mains[row], np.stack([next(read) for _ in places[row]]))
            out[row] = tuple(IntentScore(name=self.intent_head.labels[k], confidence=chance) for k, chance in wishes)
        return out

    def _entities(self, texts: Sequence[str], features: Features) -> list[tuple[Entity, ...]]:
        ruled = [self.entities.find(text) for text in texts]
        if self.tagger is None or features.hidden is None:
            return ruled
        out = []
        for row, text in enumerate(texts):
            # Spans are over the NFC form; where that is another text, only rules find their place in what was sent.
            is_same = features.texts[row] == text
            learned = self.tagger.find(text, features.tokens[row].spans, features.hidden[row]) if is_same else ()
            named = [replace(entity, value=self.entities.value_of(str(entity.value))) for entity in learned]
            out.append(joined(ruled[row], named))
        return out

    def _sentiments(self, texts: Sequence[str], features: Features) -> list[tuple[Sentiment, float]]:
        head = self.sentiment_head
        if head is None:
            return [("neutral", 0.0)] * len(features.sparse)
        probabilities = head.probabilities(head.logits(features))
        best = probabilities.argmax(axis=1)
        by_name: dict[str, Sentiment] = {name: name for name in SENTIMENTS}
        # An order number or an e-mail address has no mood, whatever the letters of a name look like.
        return [
            (by_name[head.labels[k]], float(probabilities[row, k])) if says_something(texts[row]) else ("neutral", 1.0)
            for row, k in enumerate(best)
        ]


def load_understander(path: Path, threads: int, *, beside: TrainedUnderstander | None = None) -> TrainedUnderstander:
    """Load and verify a version folder.

    Args:
        threads: threads of one forward pass.
        beside: a loaded version; where its encoder is the same file, it is shared instead of held in memory twice.
    Raises:
        ArtifactInvalid: a file is missing, altered, of another schema or of another kind.
    """
    manifest = read_manifest(path)
    if OUT_OF_SCOPE not in manifest.thresholds:
        raise ArtifactInvalid(f"{path}: its manifest has no threshold {OUT_OF_SCOPE!r}; train again")
    if manifest.kind != KIND:
        raise ArtifactInvalid(f"{path}: a {manifest.kind} model cannot understand text; promote an {KIND} version")
    verify(path, manifest)
    arrays = load_arrays(path / HEADS)
    intent_head = head_from(arrays, "intent")
    if intent_head is None:
        raise ArtifactInvalid(f"{path / HEADS}: holds no intent head; train again")
    try:
        vocabulary = NgramVocabulary.load(path / NGRAMS)
        entities = EntityMatcher(EntityRules.load(path / ENTITIES))
        scope = scorer_from(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactInvalid(f"{path}: does not load ({error}); train again") from error
    encoder, tagger = _encoder(path, manifest, threads, beside), tagger_from(arrays)
    if encoder and tagger and len(tagger.weights) != CONTEXT * encoder.spec.dimensions:
        raise ArtifactInvalid(f"{path}: its entity tagger is of an earlier release of Kefu; train again")
    return TrainedUnderstander(
        manifest=manifest,
        encoder=encoder,
        vocabulary=vocabulary,
        intent_head=intent_head,
        sentiment_head=head_from(arrays, "sentiment"),
        scope=scope,
        entities=entities,
        tagger=tagger,
        several=several_from(arrays),
        selectors=selectors_from(arrays),
        keywords=KeywordRules.load(path / KEYWORDS) if KEYWORDS in manifest.files else None,
    )


def _encoder(path: Path, manifest: Manifest, threads: int, beside: TrainedUnderstander | None) -> Encoder | None:
    digest = manifest.files.get(ENCODER_ONNX)
    if digest is None:
        return None
    if beside is not None and beside.encoder is not None and beside.manifest.files.get(ENCODER_ONNX) == digest:
        return beside.encoder
    return Encoder(path, threads)


def _ranking(labels: Sequence[str], probabilities: Floats) -> tuple[IntentScore, ...]:
    order = np.argsort(-probabilities, kind="stable")
    return tuple(IntentScore(name=labels[k], confidence=float(probabilities[k])) for k in order)


def _with_first(intent: str | None, ranking: tuple[IntentScore, ...]) -> tuple[IntentScore, ...]:
    """The ranking with an intent that is certain; None leaves it as it is."""
    if intent is None:
        return ranking
    others = (IntentScore(name=score.name, confidence=0.0) for score in ranking if score.name != intent)
    return (IntentScore(name=intent, confidence=1.0), *others)
