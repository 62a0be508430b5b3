"""An assistant's folder → one frozen `Assistant`, or the list of everything that is wrong with it.

Invariant: a loaded `Assistant` has no unresolved name; a fingerprint changes exactly when what it names changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bot.assistant.brand import Brand, read_brand
from bot.assistant.checks import check_references
from bot.assistant.config import (
    DucklingExtractor,
    FallbackClassifier,
    KefuConfig,
    KeywordClassifier,
    PipelineEntry,
    Policy,
    RegexExtractor,
    id_from,
    read_config,
    read_kefu_config,
    read_settings,
)
from bot.assistant.domain import Domain, read_domain
from bot.assistant.nlg import NlgEndpoint, read_nlg
from bot.assistant.nlu_data import NluData, NluDraft, SentimentExample, read_sentiment
from bot.assistant.quality import Finding, Kind, find_all, samples_of, warn
from bot.assistant.source import Node, Problem, Problems, read_yaml
from bot.assistant.stories import ActionStep, Rule, Story, read_rules, read_stories
from bot.assistant.unserved import check_settings
from bot.errors import AssistantError, Where

Progress = Callable[[str, int, int], None]


def _quiet(step: str, done: int, total: int) -> None:
    """The progress of whoever wants none."""


@dataclass(frozen=True, kw_only=True)
class Assistant:
    """Everything the files of one assistant say; `fallback` and `duckling` are None where the pipeline lacks them,
    `nlg` where the domain words the responses.

    `selects_across`: a ResponseSelector of the pipeline chooses among the responses of all retrieval intents.
    """

    root: Path
    assistant_id: str
    language: str
    domain: Domain
    nlu: NluData
    sentiment: tuple[SentimentExample, ...]
    rules: tuple[Rule, ...]
    stories: tuple[Story, ...]
    policies: tuple[Policy, ...]
    fallback: FallbackClassifier | None
    duckling: DucklingExtractor | None
    regex: RegexExtractor
    keywords: KeywordClassifier | None
    selects_across: bool
    pipeline: tuple[PipelineEntry, ...]
    endpoints: Mapping[str, Any]
    nlg: NlgEndpoint | None
    credentials: Mapping[str, Any]
    brand: Brand
    config: KefuConfig
    warnings: tuple[Problem, ...] = ()
    nlu_fingerprint: str = ""
    stories_fingerprint: str = ""
    dialogue_fingerprint: str = ""

    @cached_property
    def action_texts(self) -> frozenset[str]:
        """The bot's own words in end-to-end stories and rules: actions that say just that."""
        written: list[Story | Rule] = [*self.stories, *self.rules]
        steps = (step for item in written for step in item.steps)
        said = {step.text for step in steps if isinstance(step, ActionStep) and step.text}
        listed = self.domain.raw.get("e2e_actions") or ()
        return frozenset(said | {text for text in listed if isinstance(text, str)})


@dataclass(frozen=True, kw_only=True)
class TestStep:
    """What the customer sends, the actions expected in order (no listen, no session start), some slot values."""

    user: str
    actions: tuple[str, ...]
    slots: Mapping[str, Any]
    where: Where


@dataclass(frozen=True, kw_only=True)
class TestConversation:
    name: str
    language: str | None
    steps: tuple[TestStep, ...]
    where: Where


@dataclass(frozen=True, kw_only=True)
class AssistantTests:
    """The held-out tests of an assistant; training never reads them. `several`: messages with two intents and more."""

    nlu: NluData
    several: NluData
    sentiment: tuple[SentimentExample, ...]
    conversations: tuple[TestConversation, ...]


def load_assistant(folder: Path, variables: Mapping[str, str], progress: Progress = _quiet) -> Assistant:
    """Read and validate the project in `folder`; `variables` resolve `${NAME}` in endpoints and credentials.

    Args:
        progress: called with ("read the files", kB done, kB in all) before each file of `data/` and after the last.
    Raises:
        AssistantError: at the first problem that is not a mere warning, with file, line, field and hint.
    """
    problems = Problems()
    assistant = _read(folder, variables, problems, progress)
    error = problems.first_error
    if error:
        raise error.as_error()
    if assistant is None:
        raise AssistantError("no assistant found", where=Where(file=folder))
    return assistant


def check_assistant(folder: Path, variables: Mapping[str, str]) -> tuple[Problem, ...]:
    """Every problem of the files, errors first; warnings also of texts that repeat each other or the tests.

    Contradicting rules are the compiler's to find (`bot.dialogue`).
    """
    return read_and_check(folder, variables)[1]


def read_and_check(
    folder: Path, variables: Mapping[str, str], progress: Progress = _quiet
) -> tuple[Assistant | None, tuple[Problem, ...]]:
    """`check_assistant`'s problems, and the assistant where there is no error among them."""
    problems = Problems()
    assistant = _read(folder, variables, problems, progress)
    tests = _read_tests(folder, problems)
    if assistant is not None:
        progress("compare the examples", 0, 0)
        warn(find_repetition(assistant, tests), problems)
    found = tuple(sorted(problems.found, key=lambda problem: problem.level != "error"))
    return None if problems.first_error else assistant, found


def find_repetition(assistant: Assistant, tests: AssistantTests) -> dict[Kind, list[Finding]]:
    """What `bot.assistant.quality` finds in the assistant's examples, moods and fixed tests."""
    return find_all(
        samples_of(assistant.nlu.examples),
        samples_of(assistant.sentiment),
        samples_of([*tests.nlu.examples, *tests.several.examples, *tests.sentiment]),
    )


def load_tests(folder: Path) -> AssistantTests:
    """Read nlu_*.yml, several_*.yml, sentiment_*.csv and conversations.yml of the assistant's folder tests/.

    Raises:
        AssistantError: a test file cannot be read.
    """
    problems = Problems()
    tests = _read_tests(folder, problems)
    if error := problems.first_error:
        raise error.as_error()
    return tests


def _read_tests(folder: Path, problems: Problems) -> AssistantTests:
    conversations_file = folder / "tests" / "conversations.yml"
    root = read_yaml(conversations_file, problems) if conversations_file.exists() else None
    section = root.get("conversations") if root else None
    return AssistantTests(
        nlu=_read_examples(folder / "tests", "nlu*.y*ml", problems),
        several=_read_examples(folder / "tests", "several*.y*ml", problems),
        sentiment=read_sentiment(sorted((folder / "tests").glob("sentiment_*.csv")), problems),
        conversations=tuple(_read_conversations(section, problems)) if section else (),
    )


def _read_examples(folder: Path, pattern: str, problems: Problems) -> NluData:
    nlu = NluDraft(problems=problems)
    for root in _roots(sorted(folder.glob(pattern)), problems):
        if section := root.get("nlu"):
            nlu.add(section)
    return nlu.finish()


def _read(folder: Path, variables: Mapping[str, str], problems: Problems, progress: Progress) -> Assistant | None:
    domain_files = list(_domain_files(folder))
    if not domain_files:
        problems.error(
            Where(file=folder),
            "there is no domain.yml and no domain/ folder here",
            "`kefu init DIR` makes an assistant.",
        )
        return None
    roots = _roots(domain_files, problems)
    nlu, rules, stories, responses = _read_data(folder, problems, progress)
    domain = read_domain(roots, problems, responses=responses, retrieval=nlu.retrieval)
    endpoints, credentials = (_optional(folder / f"{name}.yml", problems) for name in ("endpoints", "credentials"))
    named = read_settings(endpoints, variables, problems)
    config = read_config(_optional(folder / "config.yml", problems), variables, problems)
    kefu = read_kefu_config(_optional(folder / "kefu.yml", problems), problems, variables)
    assistant = Assistant(
        root=folder,
        assistant_id=config.assistant_id or id_from(folder.resolve().name),
        language=config.language,
        domain=domain,
        nlu=nlu.finish(),
        sentiment=read_sentiment(sorted((folder / "sentiment").glob("*.csv")), problems),
        rules=rules,
        stories=stories,
        policies=config.policies,
        fallback=config.fallback,
        duckling=config.duckling,
        regex=config.regex,
        keywords=config.keywords,
        selects_across=config.selects_across,
        pipeline=config.pipeline,
        endpoints=named,
        nlg=read_nlg(endpoints.get("nlg") if endpoints else None, named.get("nlg"), problems),
        credentials=read_settings(credentials, variables, problems),
        brand=read_brand(_optional(folder / "brand.yml", problems), problems, domain.intents, kefu.timezone),
        config=kefu,
    )
    check_references(assistant, nlu.intents, problems)
    check_settings(endpoints, credentials, problems)
    return replace(
        assistant,
        warnings=tuple(problem for problem in problems.found if problem.level == "warning"),
        nlu_fingerprint=_nlu_fingerprint(assistant),
        stories_fingerprint=_stories_fingerprint(assistant),
        dialogue_fingerprint=_dialogue_fingerprint(assistant),
    )


def _domain_files(folder: Path) -> Iterator[Path]:
    for name in ("domain.yml", "domain.yaml"):
        if (folder / name).is_file():
            yield folder / name
    if (folder / "domain").is_dir():
        yield from _yaml_files(folder / "domain")


def _yaml_files(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix in (".yml", ".yaml") and file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _roots(files: Iterable[Path], problems: Problems) -> list[Node]:
    return [root for file in files if (root := read_yaml(file, problems)) is not None]


def _optional(file: Path, problems: Problems) -> Node | None:
    return read_yaml(file, problems) if file.is_file() else None


_DATA_KEYS = frozenset({"version", "nlu", "rules", "stories", "responses"})


def _read_data(
    folder: Path, problems: Problems, progress: Progress
) -> tuple[NluDraft, tuple[Rule, ...], tuple[Story, ...], tuple[Node, ...]]:
    nlu, rules, stories, responses = NluDraft(problems=problems), list[Rule](), list[Story](), list[Node]()
    files = _yaml_files(folder / "data") if (folder / "data").is_dir() else []
    sizes = [file.stat().st_size // 1000 for file in files]
    for number, file in enumerate(files):
        progress("read the files", sum(sizes[:number]), sum(sizes))
        root = read_yaml(file, problems)
        if root is None or not root.expect_map(problems):
            continue
        root.warn_unknown_keys(_DATA_KEYS, problems)
        if section := root.get("nlu"):
            nlu.add(section)
        if section := root.get("rules"):
            rules += read_rules(section, problems)
        if section := root.get("stories"):
            stories += read_stories(section, problems)
        if section := root.get("responses"):
            responses.append(section)
    progress("read the files", sum(sizes), sum(sizes))
    return nlu, tuple(rules), tuple(stories), tuple(responses)


_CONVERSATION_KEYS = frozenset({"name", "language", "steps"})
_TEST_STEP_KEYS = frozenset({"user", "actions", "slots"})


def _read_conversations(section: Node, problems: Problems) -> Iterator[TestConversation]:
    if not section.expect_list(problems):
        return
    for element in section.elements():
        element.warn_unknown_keys(_CONVERSATION_KEYS, problems)
        name, language, steps = element.get("name"), element.get("language"), element.get("steps")
        if name is None or steps is None:
            problems.error(element, "a test conversation needs `name` and `steps`")
            continue
        yield TestConversation(
            name=name.text(problems) or "",
            language=language.text(problems) if language else None,
            steps=tuple(_read_test_steps(steps, problems)),
            where=element.where,
        )


def _read_test_steps(section: Node, problems: Problems) -> Iterator[TestStep]:
    if not section.expect_list(problems):
        return
    for element in section.elements():
        element.warn_unknown_keys(_TEST_STEP_KEYS, problems)
        user, actions, slots = element.get("user"), element.get("actions"), element.get("slots")
        text = user.text(problems) if user else None
        if text is None:
            problems.error(element, "a step of a test conversation needs `user`")
            continue
        yield TestStep(
            user=text,
            actions=actions.texts(problems) if actions else (),
            slots={slot: node.plain() for slot, node in slots.items()} if slots else {},
            where=element.where,
        )


# ---- fingerprints: what training depends on, without file names and line numbers ----


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr).encode()).hexdigest()


def _nlu_fingerprint(assistant: Assistant) -> str:
    nlu = assistant.nlu
    return _sha256(
        [
            sorted(
                [e.response or e.intent, e.text, e.language or "", [repr(s) for s in e.entities]] for e in nlu.examples
            ),
            dict(nlu.synonyms),
            sorted(nlu.regexes),
            {name: list(values) for name, values in nlu.lookups.items()},
            sorted([s.label, s.text, s.language or ""] for s in assistant.sentiment),
            [assistant.config.base, assistant.config.recipe],
            _values_read(assistant),
            [repr(assistant.regex), repr(assistant.keywords)],
        ]
    )


def _values_read(assistant: Assistant) -> list[object]:
    """What the offline finder depends on; which server is asked beside it needs no training."""
    duckling = assistant.duckling
    asked = duckling and [duckling.found_here, duckling.timezone, duckling.locale]
    return [asked, dict(assistant.config.values), assistant.config.timezone]


def _without_places(value: object) -> object:
    """A rule, story or step as plain values, its place in the file left out."""
    if isinstance(value, tuple):
        return [_without_places(item) for item in value]
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is None:
        return value
    parts = {name: _without_places(getattr(value, name)) for name in fields if name != "where"}
    return [type(value).__name__, parts]


def _stories_fingerprint(assistant: Assistant) -> str:
    """What a policy that learns from the stories depends on."""
    return _sha256([assistant.domain.state_hash, [_without_places(story) for story in assistant.stories]])


def _dialogue_fingerprint(assistant: Assistant) -> str:
    return _sha256(
        [
            assistant.domain.raw,
            sorted(assistant.domain.retrieval_actions),
            [_without_places(rule) for rule in assistant.rules],
            [_without_places(story) for story in assistant.stories],
            [[policy.name, dict(policy.settings)] for policy in assistant.policies],
            repr(assistant.fallback),
            repr(assistant.brand),
        ]
    )
