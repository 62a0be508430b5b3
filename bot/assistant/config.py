"""`config.yml` (pure Rasa), `kefu.yml` (ours), `endpoints.yml` and `credentials.yml`: settings of one assistant.

Invariant: only what Kefu honours is read. The other components of the pipeline are kept by name; what becomes of each
stands in `components.py`, and `checks.py` says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bot.assistant.source import Node, Problems, resolve_variables
from bot.assistant.suggestions import SuggestionsConfig, read_suggestions
from bot.errors import Where
from bot.safety.patterns import PATTERNS, Kind
from models.value_options import DIMENSIONS, DUCKLINGS, zone_of


@dataclass(frozen=True, kw_only=True)
class FallbackClassifier:
    """A message becomes `nlu_fallback` below `threshold`, or when the best two lie within `ambiguity_threshold`."""

    threshold: float = 0.3
    ambiguity_threshold: float = 0.1


@dataclass(frozen=True, kw_only=True)
class DucklingExtractor:
    """The pipeline's DucklingEntityExtractor.

    Attributes:
        dimensions: as listed; None: all.
        locale: None: config.yml's language.
        url: the server to ask, RASA_DUCKLING_HTTP_URL before the pipeline's `url`; None: there is none, values are
            found here.
        timeout_s: seconds that the server gets for a message.
    """

    dimensions: tuple[str, ...] | None = None
    timezone: str | None = None
    locale: str | None = None
    url: str | None = None
    timeout_s: float = 3.0

    @property
    def found_here(self) -> tuple[str, ...]:
        """The dimensions among those asked for that are found without a server."""
        return DUCKLINGS if self.dimensions is None else tuple(name for name in self.dimensions if name in DUCKLINGS)


@dataclass(frozen=True, kw_only=True)
class RegexExtractor:
    """The pipeline's RegexEntityExtractor, with Rasa's defaults."""

    case_sensitive: bool = False
    use_lookup_tables: bool = True
    use_regexes: bool = True
    use_word_boundaries: bool = True


@dataclass(frozen=True, kw_only=True)
class KeywordClassifier:
    """The pipeline's KeywordIntentClassifier, where no later component decides the intent anew."""

    case_sensitive: bool = True


@dataclass(frozen=True, kw_only=True)
class PipelineEntry:
    """A component of the pipeline: its name or full path as written."""

    name: str
    where: Where


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One entry of `policies:`; `settings` is everything beside its name."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    where: Where | None = None


@dataclass(frozen=True, kw_only=True)
class RasaConfig:
    assistant_id: str | None = None
    language: str = "en"
    policies: tuple[Policy, ...] = ()
    fallback: FallbackClassifier | None = None
    duckling: DucklingExtractor | None = None
    regex: RegexExtractor = RegexExtractor()
    keywords: KeywordClassifier | None = None
    selects_across: bool = False
    pipeline: tuple[PipelineEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RasaEngineConfig:
    """`dialogue: rasa`: the Rasa server whose policies decide, and its auth token if it asks for one."""

    url: str
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class AnswersConfig:
    """When the documents under `knowledge/` are asked.

    Attributes:
        intent: what a message gets that they answer.
        instead_of: intents that give way to it where a document answers the message more closely than their response;
            messages that nothing else understands always do.
        before: intents that begin something ("I want to return it"), which only a question gives way from ("can silk
            be returned?").
    """

    intent: str = "ask_knowledge"
    instead_of: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()


SAFETY_INTENTS: Mapping[Kind, str] = {kind: kind for kind in PATTERNS if kind != "injection"}
"""What a message of each kind gets where kefu.yml says nothing; one that instructs the bot is answered as any other."""


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """What follows when a message needs care (`bot.safety`).

    Attributes:
        intents: kind → what such a message gets; nothing follows where the domain does not list it.
        named: the intents that kefu.yml names itself, which must be there.
    """

    intents: Mapping[Kind, str] = field(default_factory=lambda: dict(SAFETY_INTENTS))
    named: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Who words answers from documents, and responses that ask for it. Without a server: the local generator, once it
    was trained.

    Attributes:
        is_on: off, documents are only ever quoted. That is the default: the guard sees a small generator's mistakes far
            too seldom (results/guard.json).
        base: what the local generator is trained from: a hub id, a folder, or a known wheel's name.
        server: up to `/v1`, of a server with OpenAI's chat API; `model` as it calls it.
        languages: in which it may word answers; the local one learns them from their replies, and writes none that it
            did not learn. None: the local one in English, a server in both.
        prices: of a million tokens, "prompt" and "completion".
        stream: a reply is said sentence by sentence while it is written, on channels that can show it. Off: what was
            said cannot be taken back when a later sentence fails its check.
    """

    is_on: bool = False
    base: str = "smollm2-135m-instruct"
    server: str | None = None
    model: str = ""
    api_key: str | None = None
    languages: tuple[str, ...] | None = None
    deadline_s: float = 5.0
    prices: Mapping[str, float] = field(default_factory=dict)
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class KefuConfig:
    """`kefu.yml`.

    Attributes:
        base: name of the base model that reads customers' messages.
        recipe: how it is trained; `quick` keeps the base as it is.
        close_after_min: idle minutes after which a conversation is closed.
        values: entity → Duckling's dimension; such values are found in messages without examples.
        timezone: IANA name of the zone in which the shop's "tomorrow" begins.
        rasa: the Rasa server that decides; None: Kefu's own dialogue does.
        answers: when the company's documents answer; None: never.
        generation: who words those answers, and rephrases responses.
        suggestions: what `action_suggest` shows; None: nothing.
        safety: what follows when a message needs care.
        file_text: what the bot reads where a customer sent files without words; `{names}` are the files' names.
    """

    base: str = "multilingual-e5-small"
    recipe: str = "quick"
    close_after_min: float = 24 * 60
    values: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    rasa: RasaEngineConfig | None = None
    file_text: str = "{names}"
    answers: AnswersConfig | None = None
    generation: GenerationConfig = GenerationConfig()
    suggestions: SuggestionsConfig | None = None
    safety: SafetyConfig = field(default_factory=SafetyConfig)


_ASSISTANT_ID = re.compile(r"[\w-][\w.-]{0,63}")  # it names a folder under KEFU_HOME
_CONFIG_KEYS = frozenset({"recipe", "assistant_id", "language", "pipeline", "policies", "importers", "version"})
_KEFU_KEYS = frozenset(
    {"base", "recipe", "close_after_min", "values", "timezone", "dialogue", "rasa_url", "rasa_token", "file_text"}
    | {"answers", "generation", "safety", "suggestions"}
)
_GENERATION_KEYS = frozenset({"base", "server", "model", "api_key", "languages", "deadline_s", "prices", "stream"})
DEFAULT_POLICIES = (
    Policy(name="MemoizationPolicy"),
    Policy(name="RulePolicy"),
    Policy(name="UnexpecTEDIntentPolicy"),
    Policy(name="TEDPolicy", settings={"max_history": 5, "epochs": 100, "constrain_similarities": True}),
)


DUCKLING_URL = "RASA_DUCKLING_HTTP_URL"
# They give every message an intent of their own: a keyword found before them no longer counts.
_DECIDE_ANEW = frozenset(
    {"DIETClassifier", "SklearnIntentClassifier", "LogisticRegressionClassifier", "MitieIntentClassifier"}
)


def read_config(root: Node | None, variables: Mapping[str, str], problems: Problems) -> RasaConfig:
    """What Kefu honours of `config.yml`; without policies those of Rasa's default serve.

    Args:
        variables: the environment, for the one variable that Rasa reads there.
    """
    if root is None or not root.expect_map(problems):
        return RasaConfig(policies=DEFAULT_POLICIES)
    root.warn_unknown_keys(_CONFIG_KEYS, problems)
    assistant_id, language = root.get("assistant_id"), root.get("language")
    pipeline, policies = root.get("pipeline"), root.get("policies")
    components = _components(pipeline, problems) if pipeline and not pipeline.is_null else []
    selectors = [node for name, node in components if _is(name, "ResponseSelector")]
    return RasaConfig(
        assistant_id=_read_id(assistant_id, problems) if assistant_id and not assistant_id.is_null else None,
        language=(language.text(problems) if language and not language.is_null else None) or "en",
        policies=_read_policies(policies, problems) if policies and not policies.is_null else DEFAULT_POLICIES,
        fallback=_read_fallback(components, problems),
        duckling=_read_duckling(components, variables, problems),
        regex=_read_regex(components, problems),
        keywords=_read_keywords(components, problems),
        selects_across=any((of := node.get("retrieval_intent")) is None or of.is_null for node in selectors),
        pipeline=tuple(PipelineEntry(name=name, where=node.where) for name, node in components),
    )


def _is(name: str, component: str) -> bool:
    """Whether a name, or a class's path in Rasa, means this component; somebody's own class of that name does not."""
    return name == component or (name.startswith("rasa.") and name.endswith(f".{component}"))


def _read_id(node: Node, problems: Problems) -> str | None:
    name = node.text(problems)
    if name is None or _ASSISTANT_ID.fullmatch(name):
        return name
    hint = f"It names a folder: letters, digits, - _ and . (not first), at most 64. For instance: {id_from(name)}"
    problems.error(node, f"assistant_id '{name}' cannot name a folder", hint)
    return None


def id_from(name: str) -> str:
    """The assistant id that comes closest to a name, such as a folder's."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:64] or "assistant"


def _components(section: Node, problems: Problems) -> list[tuple[str, Node]]:
    components = []
    if section.expect_list(problems):
        for element in section.elements():
            name_node = element.get("name") if element.is_map else element
            name = name_node.text(problems) if name_node else None
            if name:
                components.append((name, element))
            elif name_node is None:
                problems.error(element, "an entry without `name`")
    return components


def _read_policies(section: Node, problems: Problems) -> tuple[Policy, ...]:
    policies = []
    for name, node in _components(section, problems):
        plain = cast("dict[str, Any]", node.plain()) if node.is_map else {}
        settings = {key: value for key, value in plain.items() if key != "name"}
        history = settings.get("max_history")
        if history is not None and (not isinstance(history, int) or isinstance(history, bool) or history < 1):
            problems.error(node.get("max_history"), "max_history must be a whole number above 0, or null")
            settings.pop("max_history")
        policies.append(Policy(name=name.rsplit(".", 1)[-1], settings=settings, where=node.where))
    return tuple(policies)


_Components = Sequence[tuple[str, Node]]


def _read_fallback(components: _Components, problems: Problems) -> FallbackClassifier | None:
    for name, node in components:
        if _is(name, "FallbackClassifier"):
            values = {
                key: number
                for key in ("threshold", "ambiguity_threshold")
                if (part := node.get(key)) is not None and (number := part.number(problems)) is not None
            }
            return FallbackClassifier(**values)
    return None


def _read_duckling(
    components: _Components, variables: Mapping[str, str], problems: Problems
) -> DucklingExtractor | None:
    for name, node in components:
        if _is(name, "DucklingEntityExtractor"):
            dimensions, locale = node.get("dimensions"), node.get("locale")
            url, timeout = node.get("url"), node.get("timeout")
            seconds = timeout.number(problems) if timeout and not timeout.is_null else None
            return DucklingExtractor(
                dimensions=dimensions.texts(problems) if dimensions and not dimensions.is_null else None,
                timezone=_read_zone(node.get("timezone"), problems),
                locale=locale.text(problems) if locale and not locale.is_null else None,
                url=variables.get(DUCKLING_URL) or (url.text(problems) if url and not url.is_null else None),
                timeout_s=DucklingExtractor.timeout_s if seconds is None else seconds,
            )
    return None


def _read_regex(components: _Components, problems: Problems) -> RegexExtractor:
    for name, node in components:
        if _is(name, "RegexEntityExtractor"):
            names = ("case_sensitive", "use_lookup_tables", "use_regexes", "use_word_boundaries")
            return RegexExtractor(**_flags(node, names, problems))
    return RegexExtractor()


def _read_keywords(components: _Components, problems: Problems) -> KeywordClassifier | None:
    found: KeywordClassifier | None = None
    for name, node in components:
        if _is(name, "KeywordIntentClassifier"):
            found = KeywordClassifier(**_flags(node, ("case_sensitive",), problems))
        elif any(_is(name, other) for other in _DECIDE_ANEW):
            found = None
    return found


def _flags(node: Node, names: Iterable[str], problems: Problems) -> dict[str, bool]:
    return {
        name: flag
        for name in names
        if (part := node.get(name)) is not None and (flag := part.flag(problems)) is not None
    }


def _read_zone(node: Node | None, problems: Problems) -> str | None:
    name = node.text(problems) if node and not node.is_null else None
    if name is None:
        return None
    try:
        zone_of(name)
    except ValueError as error:
        problems.error(node, str(error))
        return None
    return name


def _read_values(node: Node | None, problems: Problems) -> Mapping[str, str]:
    """`values: {date: time}`; one entity a dimension, since a span has one name."""
    values: dict[str, str] = {}
    if node is None or node.is_null or not node.expect_map(problems):
        return values
    for entity, part in node.items():
        dimension = part.text(problems)
        if dimension is None:
            continue
        if dimension not in DIMENSIONS:
            problems.error(part, f"there is no kind of value '{dimension}'", f"One of {', '.join(DIMENSIONS)}.")
        elif dimension in values.values():
            problems.error(part, f"'{dimension}' has two entities", "Keep one; slots can both map from it.")
        else:
            values[entity] = dimension
    return values


def _read_engine(root: Node, variables: Mapping[str, str], problems: Problems) -> RasaEngineConfig | None:
    """`dialogue: rasa` with `rasa_url`, and `rasa_token` where the server asks for one."""
    parts = {key: root.get(key) for key in ("dialogue", "rasa_url", "rasa_token")}
    given = {
        key: str(resolve_variables(part, variables, problems))
        for key, part in parts.items()
        if part is not None and not part.is_null and part.text(problems)
    }
    engine = given.get("dialogue", "kefu")
    if engine not in ("kefu", "rasa"):
        problems.error(parts["dialogue"], f"there is no dialogue engine '{engine}'", "One of kefu, rasa.")
    if engine != "rasa":
        return None
    url = given.get("rasa_url", "")
    if not url.startswith(("http://", "https://")):
        problems.error(
            parts["rasa_url"] or parts["dialogue"],
            f"`dialogue: rasa` needs the server's address, and '{url}' is none" if url else "`rasa_url` is missing",
            "For instance `rasa_url: http://127.0.0.1:5005`, where `kefu rasa serve` listens.",
        )
        return None
    return RasaEngineConfig(url=url.rstrip("/"), token=given.get("rasa_token"))


def read_kefu_config(root: Node | None, problems: Problems, variables: Mapping[str, str] | None = None) -> KefuConfig:
    """`kefu.yml`; the defaults where there is no such file. `variables` are what `${VAR}` in the engine's keys is."""
    if root is None or not root.expect_map(problems):
        return KefuConfig()
    root.warn_unknown_keys(_KEFU_KEYS, problems)
    texts = {
        key: text
        for key in ("base", "recipe", "file_text")
        if (part := root.get(key)) is not None and not part.is_null and (text := part.text(problems))
    }
    close = root.get("close_after_min")
    minutes = close.number(problems) if close else None
    return KefuConfig(
        **texts,
        close_after_min=KefuConfig.close_after_min if minutes is None else minutes,
        values=_read_values(root.get("values"), problems),
        timezone=_read_zone(root.get("timezone"), problems) or KefuConfig.timezone,
        rasa=_read_engine(root, variables or {}, problems),
        answers=_read_answers(root.get("answers"), problems),
        generation=_read_generation(root.get("generation"), problems, variables or {}),
        suggestions=read_suggestions(root.get("suggestions"), problems),
        safety=_read_safety(root.get("safety"), problems),
    )


def _read_answers(node: Node | None, problems: Problems) -> AnswersConfig | None:
    if node is None or node.is_null or not node.expect_map(problems):
        return None
    node.warn_unknown_keys(frozenset({"intent", "instead_of", "before"}), problems)
    intent = node.get("intent")

    def names(key: str) -> frozenset[str]:
        listed = node.get(key)
        return frozenset(text for each in listed.elements() if (text := each.text(problems))) if listed else frozenset()

    return AnswersConfig(
        intent=(intent.text(problems) if intent else None) or AnswersConfig.intent,
        instead_of=names("instead_of"),
        before=names("before"),
    )


def _read_generation(node: Node | None, problems: Problems, variables: Mapping[str, str]) -> GenerationConfig:
    default = GenerationConfig()
    if node is None or node.is_null:
        return default
    if not node.is_map:
        if node.text(problems) not in ("on", "off"):
            problems.error(node, "`generation` is neither off nor a map", "Write `generation: off`, or name a server.")
        return GenerationConfig(is_on=node.text(problems) == "on")
    node.warn_unknown_keys(_GENERATION_KEYS, problems)
    given = {key: part for key in _GENERATION_KEYS if (part := node.get(key)) is not None and not part.is_null}
    texts = {
        key: str(resolve_variables(given[key], variables, problems))
        for key in ("base", "server", "model", "api_key")
        if key in given
    }
    if "server" in texts and not texts["server"].startswith(("http://", "https://")):
        problems.error(given["server"], f"'{texts['server']}' is no address", "For instance http://127.0.0.1:8080/v1.")
        texts.pop("server")
    if "server" in texts and not texts.get("model"):
        problems.error(
            given["server"], "the server's `model` is missing", "Write the model's name as the server has it."
        )
    deadline, listed, prices = given.get("deadline_s"), given.get("languages"), given.get("prices")
    deadline_s = deadline.number(problems) if deadline else None
    if deadline_s is not None and deadline_s <= 0:
        problems.error(deadline, f"nothing is written in {deadline_s:g} seconds", "Write how long a reply may take.")
    streams = given["stream"].flag(problems) if "stream" in given else None
    has_languages = listed is not None and listed.expect_list(problems)
    if prices is not None and prices.expect_map(problems):
        prices.warn_unknown_keys(frozenset({"prompt", "completion"}), problems)
    return GenerationConfig(
        is_on=True,
        **texts,
        languages=tuple(each.text(problems) or "" for each in listed.elements()) if listed and has_languages else None,
        deadline_s=default.deadline_s if deadline_s is None else deadline_s,
        prices={kind: part.number(problems) or 0.0 for kind, part in prices.items()} if prices else {},
        stream=bool(streams),
    )


def _read_safety(node: Node | None, problems: Problems) -> SafetyConfig:
    """`safety: {toxic: abuse, legal_threat: null}`: another intent for a kind, or none."""
    if node is None or node.is_null or not node.expect_map(problems):
        return SafetyConfig()
    node.warn_unknown_keys(frozenset(PATTERNS), problems)
    said = {kind: None if part.is_null else part.text(problems) for kind in PATTERNS if (part := node.get(kind))}
    intents = {kind: name for kind, name in {**SAFETY_INTENTS, **said}.items() if name}
    return SafetyConfig(intents=intents, named=frozenset(name for name in said.values() if name))


def read_settings(root: Node | None, variables: Mapping[str, str], problems: Problems) -> Mapping[str, Any]:
    """`endpoints.yml` or `credentials.yml` with variables resolved; empty where there is no such file."""
    if root is None or not root.expect_map(problems):
        return {}
    return cast("dict[str, Any]", resolve_variables(root, variables, problems))
