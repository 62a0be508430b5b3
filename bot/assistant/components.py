"""What becomes of everything that a Rasa project may name in `config.yml`, `endpoints.yml` and `credentials.yml`.

One table, read by `kefu validate` and `kefu import-rasa`; nothing here reads a file. Invariant: every component,
policy, channel, store and broker of Rasa 3.6.21 has an entry, and what is not in the table is somebody's own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["component", "policy", "channel", "tracker_store", "lock_store", "event_broker"]
Verdict = Literal[
    "supported",  # does here what it does in Rasa, with its settings
    "mapped",  # its work is done by something else, which reads or replaces its settings
    "ignored",  # not needed here; nothing is lost
    "unsupported",  # its work is not done; what depends on it does not happen
]


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing a Rasa project may name.

    Attributes:
        name: as in the file; a class's own name without its module.
        what_happens: one sentence.
        remedy: what to do where something is lost; empty where nothing is.
        finds_entities: it fills `entities` in Rasa; where it is unsupported, slots may stay empty.
        names_intents: it decides the intent in Rasa.
    """

    name: str
    kind: Kind
    verdict: Verdict
    what_happens: str
    remedy: str = ""
    finds_entities: bool = False
    names_intents: bool = False


_TOKENS = "the base model brings its own tokens, for every language"
_FEATURES = "the base model's vectors and character n-grams take its place"
_CLASSIFIED = "the base model and its intent head take its place"
_TAGGED = "the entity tagger, trained on the same annotations, takes its place"
_MIGRATE = "Policies of Rasa 1 and 2 are written as rules today: run `rasa data migrate` once with Rasa 3."


def _entries(
    kind: Kind,
    verdict: Verdict,
    what_happens: str,
    *names: str,
    remedy: str = "",
    finds_entities: bool = False,
    names_intents: bool = False,
) -> Iterable[Component]:
    for name in names:
        yield Component(
            name=name,
            kind=kind,
            verdict=verdict,
            what_happens=what_happens,
            remedy=remedy,
            finds_entities=finds_entities,
            names_intents=names_intents,
        )


_COMPONENTS: tuple[Component, ...] = (
    *_entries("component", "ignored", _TOKENS, "WhitespaceTokenizer", "JiebaTokenizer"),
    *_entries("component", "mapped", _TOKENS, "SpacyTokenizer", "MitieTokenizer", "ConveRTTokenizer"),
    *_entries("component", "mapped", _FEATURES, "CountVectorsFeaturizer", "LexicalSyntacticFeaturizer"),
    *_entries("component", "mapped", _FEATURES, "SpacyFeaturizer", "MitieFeaturizer", "ConveRTFeaturizer"),
    *_entries(
        "component",
        "mapped",
        "its `model_weights` are a base model that kefu.yml can name; the default base takes its place otherwise",
        "LanguageModelFeaturizer",
    ),
    *_entries(
        "component",
        "mapped",
        "patterns and lookup tables find entities as they stand; they are no features of the intent",
        "RegexFeaturizer",
    ),
    *_entries(
        "component",
        "ignored",
        "no spaCy model is loaded: nothing but a spaCy component reads it",
        "SpacyNLP",
        "MitieNLP",
        "HFTransformersNLP",
    ),
    *_entries(
        "component",
        "mapped",
        "one encoder with an intent head and an entity tagger takes its place",
        "DIETClassifier",
        finds_entities=True,
        names_intents=True,
    ),
    *_entries(
        "component",
        "mapped",
        _CLASSIFIED,
        "SklearnIntentClassifier",
        "LogisticRegressionClassifier",
        "MitieIntentClassifier",
        names_intents=True,
    ),
    *_entries(
        "component",
        "supported",
        "a message that contains an example word for word has that example's intent",
        "KeywordIntentClassifier",
        names_intents=True,
    ),
    *_entries(
        "component",
        "supported",
        "below `threshold`, or with two intents closer than `ambiguity_threshold`, the intent is nlu_fallback",
        "FallbackClassifier",
        names_intents=True,
    ),
    *_entries(
        "component", "supported", "`/intent{…}` is always read as such, with or without it", "RegexMessageHandler"
    ),
    *_entries("component", "mapped", _TAGGED, "CRFEntityExtractor", "MitieEntityExtractor", finds_entities=True),
    *_entries(
        "component",
        "supported",
        "patterns and lookup tables of the training data find entities",
        "RegexEntityExtractor",
        finds_entities=True,
    ),
    *_entries(
        "component",
        "supported",
        "dates, amounts and addresses are found in Duckling's shape, offline or by its server",
        "DucklingEntityExtractor",
        finds_entities=True,
    ),
    *_entries("component", "supported", "synonyms replace an entity's value", "EntitySynonymMapper"),
    *_entries(
        "component",
        "supported",
        "a retrieval intent's message selects its response",
        "ResponseSelector",
    ),
    *_entries(
        "component",
        "unsupported",
        "spaCy's names of persons, places and organisations are not found",
        "SpacyEntityExtractor",
        remedy="Annotate such names in nlu.yml, add a lookup table, or fill the slot in a custom action.",
        finds_entities=True,
    ),
)

_POLICIES: tuple[Component, ...] = (
    *_entries("policy", "supported", "rules decide as in Rasa", "RulePolicy"),
    *_entries(
        "policy",
        "supported",
        "stories are remembered as in Rasa",
        "MemoizationPolicy",
        "AugmentedMemoizationPolicy",
    ),
    *_entries(
        "policy",
        "mapped",
        "a small transformer learns from the stories in its place; below the fallback's threshold the fallback decides",
        "TEDPolicy",
    ),
    *_entries(
        "policy",
        "mapped",
        "what was learned from the stories holds back where no story has the intent at such a place, and the fallback "
        "decides; `action_unlikely_intent` is not predicted",
        "UnexpecTEDIntentPolicy",
        remedy="A rule or story with `action_unlikely_intent` never happens: take it out, or ask by a rule instead.",
    ),
    *_entries(
        "policy",
        "unsupported",
        "Rasa 3 does not have it any more",
        *("FormPolicy", "FallbackPolicy", "TwoStageFallbackPolicy", "MappingPolicy"),
        *("SklearnPolicy", "EmbeddingPolicy", "KerasPolicy"),
        remedy=_MIGRATE,
    ),
)

_CHANNELS: tuple[Component, ...] = (
    *_entries("channel", "supported", "served at /webhooks/rest/webhook; always on", "rest"),
    *_entries("channel", "supported", "Rasa's web widgets connect unchanged", "socketio"),
    *_entries("channel", "supported", "Slack's events, buttons and commands are served at /webhooks/slack/", "slack"),
    *_entries(
        "channel", "supported", "served at /webhooks/telegram/webhook, and registered there at start", "telegram"
    ),
    *_entries("channel", "supported", "served at /webhooks/wechat; Rasa itself has no such channel", "wechat"),
    *_entries("channel", "supported", "served at /webhooks/wechat/kf; Rasa itself has no such channel", "wechat_kf"),
    *_entries("channel", "mapped", "`kefu chat` takes its place", "cmdline"),
    *_entries("channel", "ignored", "Rasa X and Rasa Enterprise are not served", "rasa"),
    *_entries(
        "channel",
        "unsupported",
        "the channel is not served",
        *("callback", "facebook", "twilio", "twilio_voice", "webexteams"),
        *("mattermost", "rocketchat", "hangouts", "botframework"),
        remedy="Let a small program of yours pass its messages to /webhooks/rest/webhook and back.",
    ),
)

_TRACKER_STORES: tuple[Component, ...] = (
    *_entries(
        "tracker_store",
        "mapped",
        "conversations are kept in KEFU_DATABASE_URL (SQLite or PostgreSQL)",
        "sql",
        remedy="Bring the old ones along: kefu import-rasa DIR --tracker-store URL.",
    ),
    *_entries(
        "tracker_store",
        "mapped",
        "conversations are kept in KEFU_DATABASE_URL (SQLite or PostgreSQL), durably",
        "InMemoryTrackerStore",
    ),
    *_entries(
        "tracker_store",
        "mapped",
        "conversations are kept in KEFU_DATABASE_URL (SQLite or PostgreSQL); the old ones stay where they are",
        *("mongod", "dynamo", "redis"),
        remedy="To bring old ones along, let Rasa copy them into a SQL tracker store first, then import that.",
    ),
)

_LOCK_STORES: tuple[Component, ...] = (
    *_entries("lock_store", "mapped", "the database itself keeps one turn a conversation", "in_memory", "redis"),
)

_EVENT_BROKERS: tuple[Component, ...] = (
    *_entries(
        "event_broker",
        "supported",
        "every event is published after it is stored",
        *("sql", "kafka", "pika"),
        "webhook",  # not Rasa's: a signed POST
    ),
    *_entries(
        "event_broker",
        "unsupported",
        "no event is written to a file",
        "file",
        remedy="Read the events from the database, or name a `sql`, `kafka` or `pika` broker.",
    ),
)

COMPONENTS: Mapping[tuple[Kind, str], Component] = {
    (entry.kind, entry.name): entry
    for entry in (*_COMPONENTS, *_POLICIES, *_CHANNELS, *_TRACKER_STORES, *_LOCK_STORES, *_EVENT_BROKERS)
}

# Of somebody's own classes, by the beginning of the module path: add-ons that many projects use.
_ADD_ONS: tuple[tuple[str, Verdict, str, str], ...] = (
    ("rasa_nlu_examples.featurizers.", "mapped", _FEATURES, ""),
    ("rasa_nlu_examples.tokenizers.", "mapped", _TOKENS, ""),
    ("rasa_nlu_examples.meta.", "ignored", "it prints while Rasa runs, and nothing else", ""),
    ("rasa_nlu_examples.classifiers.", "mapped", _CLASSIFIED, ""),
    (
        "rasa_nlu_examples.",
        "unsupported",
        "it does not run here",
        "For entities: annotate them, add a lookup table, or name a DucklingEntityExtractor for dates.",
    ),
)

_OWN_CHANNEL = "Write a class of Rasa's `InputChannel` anew: docs/connectors.md shows how, step by step."

_OWN: Mapping[Kind, str] = {
    "component": "Do its work in a custom action, or fill its entities by annotations, patterns and lookup tables.",
    "policy": "Write as a rule or story what it decides.",
    "channel": "Let a small program of yours pass its messages to /webhooks/rest/webhook and back.",
    "tracker_store": "Conversations are kept in KEFU_DATABASE_URL; a custom store is not asked.",
    "lock_store": "The database itself keeps one turn a conversation; a custom store is not asked.",
    "event_broker": "Name a `sql`, `kafka` or `pika` broker.",
}


def look_up(kind: Kind, name: str) -> Component:
    """What becomes of `name`, as a project's file has it: a name, or a class's full path.

    Rasa's own classes may stand with their module path. What the table does not know is the project's own code (or a
    misspelt name) and unsupported.
    """
    own = name.rsplit(".", 1)[-1]
    is_rasas = "." not in name or name.startswith("rasa.")
    if is_rasas and (found := COMPONENTS.get((kind, own)) or COMPONENTS.get((kind, own.lower()))):
        return found
    for prefix, verdict, what_happens, remedy in _ADD_ONS:
        if name.startswith(prefix):
            return Component(name=own, kind=kind, verdict=verdict, what_happens=what_happens, remedy=remedy)
    return _unknown(kind, name, own)


def _unknown(kind: Kind, name: str, own: str) -> Component:
    if kind == "lock_store" or kind == "tracker_store":
        return Component(
            name=own, kind=kind, verdict="mapped", what_happens="Kefu's database takes its place", remedy=_OWN[kind]
        )
    if kind == "channel" and "." in name:
        loaded = "it is this project's own class and loaded when serving starts, if it is a channel of Kefu's"
        return Component(name=own, kind=kind, verdict="mapped", what_happens=loaded, remedy=_OWN_CHANNEL)
    what = "it is this project's own class and does not run here" if "." in name else "Rasa 3.6 does not have it"
    return Component(
        name=own,
        kind=kind,
        verdict="unsupported",
        what_happens=what,
        remedy=_OWN[kind],
        finds_entities=kind == "component",
        names_intents=False,
    )
