"""One run of `kefu test`: which model, which stories and messages, which files; and cross-validation.

Invariant: what is tested is the version that serves, or, in cross-validation, versions that nobody keeps; no custom
action runs for a story, and the assistant's files are only read.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.app import load_bot
from bot.assistant.loader import Assistant, load_assistant, load_tests
from bot.assistant.nlu_data import IntentExample, NluDraft
from bot.assistant.source import Problems, read_yaml
from bot.dialogue.parsing import to_parse_data
from bot.errors import AssistantError, ConfigurationError, Where
from bot.learning import Candidate
from bot.lessons import FixedTests, collect_lessons
from bot.rehearsal import ConversationResult, play_conversations
from bot.settings import Settings, environment
from bot.testing.nlu import Answer, NluFigures, answer_of, write_nlu_reports
from bot.testing.play import Parse, StoryResult, play_story
from bot.testing.stories import read_test_stories, story_files
from bot.testing.story_reports import write_story_reports
from bot.turns import Bot, read_message
from models.base import KIND, ModelUnavailable
from models.pretrained import resolve_base
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """What to run and where to write.

    Attributes:
        parts: of "nlu", "stories", "conversations".
        stories: a file or folder of test stories; None: the assistant's tests/.
        nlu: a file or folder of labelled messages; None: those in tests/, else the training data.
        folds: cross-validation with so many; None: no cross-validation.
    """

    __test__ = False  # its name begins as pytest's tests do

    out: Path
    parts: frozenset[str] = frozenset({"nlu", "stories", "conversations"})
    stories: Path | None = None
    nlu: Path | None = None
    folds: int | None = None
    successes: bool = False
    pictures: bool = True


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """What was found. `notices` say what a person should know about how it was measured."""

    __test__ = False

    out: Path
    version: str | None
    nlu: NluFigures | None = None
    stories: tuple[StoryResult, ...] = ()
    conversations: tuple[ConversationResult, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        """A story or test conversation went another way; messages read wrongly are figures, not failures."""
        return not (all(one.passed for one in self.stories) and all(one.passed for one in self.conversations))


def run_tests(
    settings: Settings, root: Path, plan: TestPlan, progress: Progress = lambda step, done, total: None
) -> TestOutcome:
    """Test the assistant in `root` and write the report files.

    Raises:
        AssistantError: the assistant or a test file cannot be read.
        ModelUnavailable: no version serves (cross-validation trains its own).
        ConfigurationError: the data are too few for cross-validation.
    """
    if plan.folds is not None:
        assistant = load_assistant(root, environment())
        answers, notices = cross_validate(settings, assistant, plan.folds, progress)
        figures = write_nlu_reports(answers, plan.out, successes=plan.successes, pictures=plan.pictures)
        return TestOutcome(out=plan.out, version=None, nlu=figures, notices=notices)
    bot = load_bot(root, settings)
    return asyncio.run(_run(bot, _serving(settings, bot.assistant.assistant_id), root, plan, progress))


async def _run(bot: Bot, reader: TrainedUnderstander, root: Path, plan: TestPlan, progress: Progress) -> TestOutcome:
    understander = Candidate(reader)

    async def parse(text: str) -> Mapping[str, Any]:
        return (await read_message(text, bot, understander)).parse_data

    notices: list[str] = []
    figures, stories, played = None, list[StoryResult](), list[ConversationResult]()
    try:
        if "nlu" in plan.parts:
            examples = _examples(bot.assistant, root, plan.nlu, notices)
            answers = await _read(examples, parse, progress)
            figures = write_nlu_reports(answers, plan.out, successes=plan.successes, pictures=plan.pictures)
        if "stories" in plan.parts:
            stories = await play_stories(bot, parse, _story_files(root, plan, notices), root, progress)
        if stories:
            write_story_reports(stories, plan.out, successes=plan.successes, pictures=plan.pictures)
        if "conversations" in plan.parts and plan.stories is None:
            played = await play_conversations(bot, understander, load_tests(root).conversations, progress)
    finally:
        await bot.actions.close()
    return TestOutcome(
        out=plan.out,
        version=reader.version,
        nlu=figures,
        stories=tuple(stories),
        conversations=tuple(played),
        notices=tuple(notices),
    )


def _serving(settings: Settings, assistant_id: str) -> TrainedUnderstander:
    registry = Registry(settings.models_dir, assistant_id)
    version = registry.current(KIND)
    if version is None:
        raise ModelUnavailable(f"no model of {assistant_id!r} serves under {settings.home}; run `kefu train`")
    return load_understander(registry.path(KIND, version), settings.inference_threads)


# ---- stories ----


def _story_files(root: Path, plan: TestPlan, notices: list[str]) -> list[Path]:
    place = plan.stories or root / "tests"
    if plan.stories is None and not place.is_dir():
        notices.append("there is no folder tests/, so no test story was played")
        return []
    files = story_files(place)
    if not files and plan.stories is not None:
        raise AssistantError("there are no test stories (files named test_*.yml)", where=Where(file=place))
    return files


async def play_stories(
    bot: Bot, parse: Parse, files: Sequence[Path], root: Path, progress: Progress = lambda step, done, total: None
) -> list[StoryResult]:
    """Play every story of the files, which are named as they lie below `root`."""
    domain = bot.assistant.domain
    results: list[StoryResult] = []
    stories = read_test_stories(list(files), domain)
    for done, story in enumerate(stories):
        progress("stories", done, len(stories))
        file = story.where.file
        source = str(file.relative_to(root) if file.is_relative_to(root) else file)
        results.append(await play_story(story, bot.dialogue.policies, domain, parse, source))
    progress("stories", len(stories), len(stories))
    return results


# ---- messages ----


def _examples(assistant: Assistant, root: Path, place: Path | None, notices: list[str]) -> list[IntentExample]:
    """The labelled messages to read: of `place`, else of tests/, else those that were trained on."""
    if place is not None:
        found = read_examples(place)
        if not found:
            raise AssistantError("there are no messages under `nlu:`", where=Where(file=place))
        return found
    found = read_examples(root / "tests") if (root / "tests").is_dir() else []
    if not found:
        notices.append("there are no test messages in tests/, so the training data were read, as in Rasa: it flatters")
        return list(assistant.nlu.examples)
    return found


def read_examples(place: Path) -> list[IntentExample]:
    """The examples of a file, or of every YAML file of a folder that has `nlu:`; not those of two intents.

    Raises:
        AssistantError: a file cannot be read, with its line.
    """
    problems = Problems()
    draft = NluDraft(problems=problems)
    files = [place] if place.is_file() else sorted(place.rglob("*.y*ml"))
    for file in files:
        root = read_yaml(file, problems)
        section = root.get("nlu") if root is not None else None
        # Messages with two intents have a format and a measure of their own (`kefu evaluate`).
        if section is not None and not file.name.startswith("several"):
            draft.add(section)
    if error := problems.first_error:
        raise error.as_error()
    return list(draft.finish().examples)


async def _read(examples: Sequence[IntentExample], parse: Parse, progress: Progress) -> list[Answer]:
    answers = []
    for done, example in enumerate(examples):
        progress("messages", done, len(examples))
        answers.append(answer_of(example, await parse(example.text)))
    progress("messages", len(examples), len(examples))
    return answers


# ---- cross-validation ----

_NO_TESTS = FixedTests(
    intents=(), sentiment=(), conversations=(), intents_from="none", sentiment_from="none", keys=frozenset()
)


def cross_validate(
    settings: Settings,
    assistant: Assistant,
    folds: int,
    progress: Progress = lambda step, done, total: None,
    recipe: str | None = None,
) -> tuple[list[Answer], tuple[str, ...]]:
    """Every training message read by a model that did not see it; the answers in no order, and notices.

    Raises:
        ConfigurationError: fewer than two intents have `folds` examples each.
    """
    from training.dataset import assign_folds
    from training.recipes import RECIPES

    examples, notices = _with_enough(assistant.nlu.examples, folds)
    chosen = replace(RECIPES[recipe or assistant.config.recipe], threads=settings.inference_threads)
    # Stratified by what is read: a retrieval intent's responses each have their share of every fold.
    rows = _utterances(assistant, examples)
    placed = assign_folds([replace(row, label=row.response or row.label) for row in rows], folds, chosen.seed)
    base = resolve_base(assistant.config.base, settings.bases_dir)
    answers: list[Answer] = []
    for fold in range(folds):
        progress("folds", fold, folds)
        kept = [example for example, place in zip(examples, placed, strict=True) if place != fold]
        held = [example for example, place in zip(examples, placed, strict=True) if place == fold]
        answers += _judge_fold(assistant, kept, held, base, chosen, settings)
    progress("folds", folds, folds)
    return answers, notices


def _with_enough(examples: Iterable[IntentExample], folds: int) -> tuple[list[IntentExample], tuple[str, ...]]:
    """The examples of intents that every fold has one of, as Rasa's cross-validation takes them, and leaves two of."""
    every = list({example.text: example for example in examples}.values())
    counts = Counter(example.intent for example in every)
    thin = sorted(intent for intent, n in counts.items() if n < folds or n - -(-n // folds) < 2)
    if len(counts) - len(thin) < 2:
        raise ConfigurationError(f"--folds {folds}: fewer than two intents have {folds} examples each; add examples")
    notices = (f"left out, with too few examples for {folds} folds: {', '.join(thin)}",) if thin else ()
    return [example for example in every if example.intent not in thin], notices


def _utterances(assistant: Assistant, examples: Sequence[IntentExample]) -> tuple[Any, ...]:
    return tuple(_lessons(assistant, examples).intents)


def _lessons(assistant: Assistant, examples: Sequence[IntentExample]) -> Any:
    """What is trained from these examples: intents, responses and entities; moods are not measured here."""
    alone = replace(assistant, nlu=replace(assistant.nlu, examples=tuple(examples)))
    return replace(collect_lessons(alone, (), _NO_TESTS).data, sentiment=())


def _judge_fold(
    assistant: Assistant,
    kept: Sequence[IntentExample],
    held: Sequence[IntentExample],
    base: Any,
    recipe: Any,
    settings: Settings,
) -> list[Answer]:
    from training.dataset import DataError
    from training.finetune_understanding import train_understanding

    with tempfile.TemporaryDirectory(prefix="kefu-fold-") as scratch:
        out = Path(scratch) / "version"
        try:
            train_understanding(_lessons(assistant, kept), recipe, base, out, assistant.assistant_id)
        except DataError as error:
            raise ConfigurationError(
                f"a part of the cross-validation teaches nothing: {error}; use fewer folds"
            ) from error
        reader = load_understander(out, settings.inference_threads)
        read = reader.read([example.text for example in held])
        domain, fallback = assistant.domain, assistant.fallback
        return [
            answer_of(
                example,
                to_parse_data(answer, fallback, domain, selects_across=assistant.selects_across),
            )
            for example, answer in zip(held, read, strict=True)
        ]
