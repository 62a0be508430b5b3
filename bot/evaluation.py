"""Measure: the version that serves on its assistant's fixed tests, or a recipe on any labelled files.

What is tested on is `bot.lessons`' to say, the figures are `training`'s. Invariant: nothing here trains what serves,
and no figure is of another base or recipe than was asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

from bot.app import actions_of, knowledge_of
from bot.assistant.loader import Assistant, TestConversation
from bot.errors import ConfigurationError
from bot.learning import Candidate
from bot.lessons import FixedTests, fixed_tests
from bot.rehearsal import ConversationResult, play_conversations
from bot.settings import Settings
from bot.story_policy import learned_policies
from bot.turns import Bot
from models.base import KIND, OUT_OF_SCOPE_INTENTS, ModelUnavailable
from models.pretrained import resolve_base
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander

if TYPE_CHECKING:
    from training.dataset import Utterance
    from training.evaluate import Judged, Report
    from training.experiment import Experiment, Plan
    from training.parts import EntityReport, SeveralReport

Progress = Callable[[str, int, int], None]
BASE = "all-MiniLM-L6-v2"


@dataclass(frozen=True, kw_only=True)
class AssistantReport:
    """How good the version that serves is for its assistant.

    Attributes:
        tasks: "intent" and, where the model names moods, "sentiment".
        entities: None where no test message is annotated.
        several: None without tests/several_*.yml.
        oos_auroc: of the test messages labelled out_of_scope against all others; None without any.
        by_language: language of the test files → macro-F1 of each task, and `oos_auroc` where it has such messages.
        misses: task → what was read wrongly.
    """

    version: str
    tasks: Mapping[str, Report]
    entities: EntityReport | None
    several: SeveralReport | None
    oos_auroc: float | None
    oos_n: int
    conversations: int
    conversations_passed: int
    by_language: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    misses: Mapping[str, Sequence[Judged]] = field(default_factory=dict)

    def figures(self) -> dict[str, float | int | str | None]:
        """The few figures that one compares, flat."""
        out: dict[str, float | int | str | None] = {"version": self.version}
        for task, report in self.tasks.items():
            out |= {f"{task}_n": report.n, f"{task}_accuracy": report.accuracy, f"{task}_macro_f1": report.macro_f1}
            out |= {f"{task}_ece": report.ece, f"{task}_ece_by_chance": report.ece_by_chance}
            languages = (score for score in report.slices if score.dimension == "language")
            out |= {f"{task}_accuracy_{score.name}": score.accuracy for score in languages}
        if self.entities is not None:
            out |= {"entity_n": self.entities.all.n, "entity_f1": self.entities.all.f1}
            out |= {f"entity_f1_{score.name}": score.f1 for score in self.entities.by_language}
        if self.several is not None:
            out |= {"several_n": self.several.n, "several_exact": self.several.exact}
            out |= {"split_wrongly": self.several.split_wrongly, "tricky_split": self.several.tricky_split}
        out |= {"oos_n": self.oos_n, "oos_auroc": self.oos_auroc}
        out |= {f"{name}_{lang}": value for lang, values in self.by_language.items() for name, value in values.items()}
        return out | {"conversations": self.conversations, "conversations_passed": self.conversations_passed}

    def as_json(self) -> dict[str, Any]:
        """The figures, and under `details` everything they were summed up from."""
        return {**self.figures(), "details": asdict(self)}


def evaluate_assistant(
    settings: Settings, assistant: Assistant, *, progress: Progress = lambda step, done, total: None, console: Console
) -> AssistantReport:
    """Figures of the version that serves, on the assistant's fixed tests and test conversations.

    Raises:
        ModelUnavailable: no version serves.
        AssistantError: a test file cannot be read.
    """
    from training.evaluate import judged_as, read_all, sum_up
    from training.parts import entity_report

    tests = fixed_tests(assistant)
    for notice in tests.notices:
        console.print(f"note: {notice}", highlight=False, soft_wrap=True, markup=False)
    reader = _serving(settings, assistant.assistant_id)
    progress("read", 0, len(tests.intents) + len(tests.sentiment))
    understood = read_all(reader, tests.intents)
    progress("read", len(tests.intents), len(tests.intents) + len(tests.sentiment))
    answers = {"intent": judged_as(tests.intents, understood, "intent")}
    if reader.sentiment_head is not None:
        answers["sentiment"] = judged_as(tests.sentiment, read_all(reader, tests.sentiment), "sentiment")
    progress("read", len(tests.intents) + len(tests.sentiment), len(tests.intents) + len(tests.sentiment))
    strange = [j for j in answers["intent"] if j.label in OUT_OF_SCOPE_INTENTS]
    familiar = [j for j in answers["intent"] if j.label not in OUT_OF_SCOPE_INTENTS]
    rows = {"intent": tests.intents, "sentiment": tests.sentiment}
    languages = {task: [row.language for row in rows[task]] for task in answers}
    played = _play(settings, assistant, reader, tests.conversations, progress)
    _print_conversations(played, console)
    return AssistantReport(
        version=reader.version,
        tasks={task: sum_up(judgements) for task, judgements in answers.items() if judgements},
        entities=entity_report(tests.intents, understood),
        several=_several(reader, assistant.root, tests),
        oos_auroc=sum_up(familiar, strange).oos_auroc if strange and familiar else None,
        oos_n=len(strange),
        conversations=len(played),
        conversations_passed=sum(result.passed for result in played),
        by_language=_by_language(answers, languages),
        misses={task: [j for j in judgements if not j.is_right] for task, judgements in answers.items()},
    )


def evaluate_files(
    settings: Settings,
    train_file: Path,
    test_file: Path | None = None,
    *,
    oos: Path | None = None,
    base: str = BASE,
    recipe: str = "quick",
    plan: Plan | None = None,
    progress: Progress = lambda step, done, total: None,
) -> Experiment:
    """Measure a recipe on files; without `test_file` the training file brings its own splits, or is cross-validated.

    Raises:
        ConfigurationError: a file, the plan or the recipe's name is wrong.
        BaseModelNotFound: the base is not there; no other takes its place, since the figures would be another's.
    """
    from training.dataset import DataError
    from training.experiment import Plan, run_experiment
    from training.readers import read_corpus, read_utterances
    from training.recipes import RECIPES

    if recipe not in RECIPES:
        raise ConfigurationError(f"--recipe {recipe}: unknown; one of {', '.join(RECIPES)}")
    plan = plan or Plan()
    chosen = replace(RECIPES[recipe], threads=settings.inference_threads)
    try:
        corpus = read_corpus(train_file)
        if plan.folds is not None:  # a file's own test rows stay unread
            corpus = replace(corpus, test=())
        if test_file is not None:
            corpus = replace(corpus, test=read_utterances(test_file))
        if oos is not None:
            corpus = replace(corpus, out_of_scope=read_utterances(oos))
        return run_experiment(corpus, resolve_base(base, settings.bases_dir), chosen, plan, progress)
    except DataError as error:
        raise ConfigurationError(str(error)) from error


def assistant_tables(report: AssistantReport) -> Iterator[RenderableType]:
    """What `kefu evaluate` prints of an assistant, for a terminal of 100 columns."""
    from training.tables import entity_table, plain_table, report_tables, several_table

    rows = []
    for name, value in report.figures().items():
        if value is not None:
            rows.append((name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else str(value)))
    yield plain_table("", rows)
    for task, figures in report.tasks.items():
        yield from report_tables(figures, task)
    if report.entities is not None:
        yield from entity_table(report.entities)
    if report.several is not None:
        yield several_table(report.several)


def experiment_tables(experiment: Experiment) -> Iterator[RenderableType]:
    """What `kefu evaluate --train` prints."""
    from training.tables import experiment_tables

    return experiment_tables(experiment)


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Write the figures where asked, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _serving(settings: Settings, assistant_id: str) -> TrainedUnderstander:
    registry = Registry(settings.models_dir, assistant_id)
    version = registry.current(KIND)
    if version is None:
        raise ModelUnavailable(f"no model of {assistant_id!r} serves under {settings.home}; run `kefu train`")
    return load_understander(registry.path(KIND, version), settings.inference_threads)


def _several(reader: TrainedUnderstander, root: Path, tests: FixedTests) -> SeveralReport | None:
    from training.parts import intents_of, several_report

    several = _several_messages(root)
    if not several:
        return None
    return several_report(several, tests.intents, lambda texts: [intents_of(answer) for answer in reader.read(texts)])


def _by_language(
    answers: Mapping[str, Sequence[Judged]], languages: Mapping[str, Sequence[str | None]]
) -> dict[str, dict[str, float]]:
    """What each customer's language gets: the mean over both hides which one is served badly."""
    from training.evaluate import sum_up

    found: dict[str, dict[str, float]] = {}
    for task, judgements in answers.items():
        for language in sorted(filter(None, set(languages[task]))):
            spoken = [j for j, its in zip(judgements, languages[task], strict=True) if its == language]
            figures = found.setdefault(language, {})
            figures[f"{task}_macro_f1"] = sum_up(spoken).macro_f1
            strange = [j for j in spoken if j.label in OUT_OF_SCOPE_INTENTS]
            familiar = [j for j in spoken if j.label not in OUT_OF_SCOPE_INTENTS]
            if task == "intent" and strange and familiar:
                figures["oos_auroc"] = sum_up(familiar, strange).oos_auroc or 0.0
    return found


def _several_messages(root: Path) -> list[Utterance]:
    from training.dataset import DataError
    from training.readers import read_utterances

    try:
        return [u for file in sorted((root / "tests").glob("several*.y*ml")) for u in read_utterances(file)]
    except DataError as error:
        raise ConfigurationError(str(error)) from error


def _play(
    settings: Settings,
    assistant: Assistant,
    reader: TrainedUnderstander,
    conversations: Sequence[TestConversation],
    progress: Progress,
) -> Sequence[ConversationResult]:
    learned = learned_policies(assistant, Registry(settings.models_dir, assistant.assistant_id))

    async def play() -> Sequence[ConversationResult]:
        bot = Bot.of(assistant, actions_of(assistant), learned)
        bot = replace(bot, knowledge=knowledge_of(settings, assistant))
        try:
            return await play_conversations(bot, Candidate(reader), conversations, progress)
        finally:
            await bot.close()

    return asyncio.run(play()) if conversations else ()


def _print_conversations(results: Sequence[ConversationResult], console: Console) -> None:
    for result in results:
        if not result.passed:
            console.print(result.diff(), highlight=False, soft_wrap=True, markup=False)
