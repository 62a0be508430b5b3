"""The learning loop: train from the files and the reviewed log, compare with what serves, promote what is not worse.

What is learned from is `bot.lessons`' to say, how is `training`'s, which version serves `models.registry`'s.
Invariant: CURRENT moves as the very last step, and only to a version that no test finds worse than the one that serves;
whatever goes wrong before leaves it as it was.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from bot.app import actions_of, knowledge_of, suggestions_of
from bot.assistant.loader import Assistant, TestConversation
from bot.dialogue.learned import LearnedPolicy
from bot.errors import AssistantError, KefuError
from bot.knowing import sync_knowledge
from bot.lessons import FixedTests, collect_lessons, fixed_tests, training_data
from bot.rehearsal import ConversationResult, play_conversations
from bot.review import export_review, import_review
from bot.settings import Settings
from bot.storage import predictions
from bot.storage.database import Database
from bot.storage.predictions import LabelledText
from bot.story_lessons import learn_policy
from bot.story_policy import learned_policies
from bot.turns import Bot
from models.artifact import verify, version_id
from models.base import KIND, BaseModelNotFound, Manifest, ModelError, Understanding
from models.pretrained import NGRAM, BaseModel, ngram_base, resolve_base
from models.registry import WHATEVER, CurrentMoved, Registry
from models.understanding import TrainedUnderstander, load_understander

if TYPE_CHECKING:
    from training.dataset import UnderstandingData
    from training.evaluate import Judged
    from training.finetune_understanding import Recipe
    from training.gate import Verdict

__all__ = [
    "TrainOutcome",
    "export_review",
    "fixed_tests",
    "import_review",
    "play_conversations",
    "retrain",
    "train",
    "training_data",
]

Progress = Callable[[str, int, int], None]
Promote = Literal["gate", "always", "never"]

SCRATCH = ".training-"
LOCK_POLL_S = 0.2
MOVED = "another version was promoted meanwhile; compare again: kefu retrain"


class Stopped(Exception):
    """Whoever asked for the training ended it."""


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """What a training came to.

    Attributes:
        version: what was trained; where `skipped`, what serves.
        skipped: what serves was made from exactly this; nothing was trained or compared.
        promoted: `version` serves now and did not before.
        reason: why it serves or not, for people.
        verdict: the figures of the gate; None where there was nothing to compare with.
        conversations: how the test conversations went with `version`.
    """

    version: str
    skipped: bool
    promoted: bool
    reason: str
    manifest: Manifest
    verdict: Verdict | None = None
    conversations: tuple[ConversationResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What every step of one training needs."""

    settings: Settings
    assistant: Assistant
    registry: Registry
    tests: FixedTests
    progress: Progress
    console: Console
    recipe: str | None = None
    seed: int = 0
    learned: tuple[LearnedPolicy, ...] = ()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def load(self, version: str, beside: TrainedUnderstander | None = None) -> TrainedUnderstander:
        path = self.registry.path(KIND, version)
        return load_understander(path, self.settings.inference_threads, beside=beside)


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    """May the challenger serve, and what was seen."""

    may_serve: bool
    reason: str
    verdict: Verdict | None
    conversations: tuple[ConversationResult, ...]


# ---- train and retrain ----


def train(
    settings: Settings,
    assistant: Assistant,
    *,
    labels: Sequence[LabelledText] = (),
    force: bool = False,
    promote: Promote = "gate",
    base: str | None = None,
    recipe: str | None = None,
    seed: int = 0,
    progress: Progress = lambda step, done, total: None,
    console: Console,
) -> TrainOutcome:
    """Train a version from the files and `labels`; let it serve if it is not worse than what serves.

    Blocks for minutes, and while another training runs under this KEFU_HOME; not to be called on an event loop
    (`retrain` is for that).

    Args:
        force: train even where nothing changed.
        promote: "gate" decides by the fixed tests; "always" and "never" do not ask it, its table is printed anyway.
        base, recipe: instead of those that `kefu.yml` names.
        seed: of the split that settings are chosen on, and of the tuning.
    Raises:
        AssistantError: the files give nothing to learn from, or name an unknown recipe.
    """
    registry = Registry(settings.models_dir, assistant.assistant_id)
    with _only_training(settings.home, progress) as scratch:
        tests = fixed_tests(assistant)
        run = _Run(
            settings=settings,
            assistant=assistant,
            registry=registry,
            tests=tests,
            progress=progress,
            console=console,
            recipe=recipe,
            seed=seed,
        )
        _read_documents(run)
        _read_catalogue(run)
        lessons = collect_lessons(assistant, labels, tests)
        for notice in (*tests.notices, *lessons.notices):
            run.say(f"note: {notice}")
        serving = _serving(run)
        champion = _champion(run, serving)
        learn_policy(assistant, registry, scratch, progress, run.say, force=force)
        run = replace(run, learned=learned_policies(assistant, registry, run.say))
        version = _version_of(run, lessons.data, base or assistant.config.base, champion, scratch, force=force)
        manifest = registry.manifest(KIND, version)
        if version == champion:
            reason = "nothing changed since it was trained"
            return TrainOutcome(version=version, skipped=True, promoted=False, reason=reason, manifest=manifest)
        judgement = _judge(run, champion, version)
        may_serve = judgement.may_serve if promote == "gate" else promote == "always"
        reason = judgement.reason if promote == "gate" else f"as asked for ({judgement.reason})"
        progress("promote", 0, 1)  # the last moment at which whoever asked can still stop it
        if may_serve:
            try:
                registry.promote(KIND, version, expected=serving if promote == "gate" else WHATEVER)
            except CurrentMoved:
                may_serve, reason = False, MOVED
        progress("promote", 1, 1)
        return TrainOutcome(
            version=version,
            skipped=False,
            promoted=may_serve,
            reason=reason,
            manifest=manifest,
            verdict=judgement.verdict,
            conversations=judgement.conversations,
        )


async def retrain(
    settings: Settings,
    assistant: Assistant,
    db: Database,
    *,
    force: bool = False,
    promote: Promote = "gate",
    progress: Progress = lambda step, done, total: None,
    console: Console,
) -> TrainOutcome:
    """`train` with the reviewed labels of the log. Cancelled, it stops at the next step and promotes nothing."""
    labels = await db.read(lambda c: predictions.labels(c, assistant.assistant_id))
    cancelled = threading.Event()

    def tick(step: str, done: int, total: int) -> None:
        if cancelled.is_set():
            raise Stopped
        progress(step, done, total)

    def work() -> TrainOutcome:
        return train(settings, assistant, labels=labels, force=force, promote=promote, progress=tick, console=console)

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        cancelled.set()
        raise


@contextmanager
def _only_training(home: Path, progress: Progress) -> Iterator[Path]:
    """A scratch folder on the registry's file system, alone: two trainings would race for CURRENT.

    Waits for a training that runs already; most often there is nothing left to do after it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "training.lock").open("w") as lock:
        while not _locked(lock):
            progress("wait for another training", 0, 0)
            time.sleep(LOCK_POLL_S)
        for stale in home.glob(f"{SCRATCH}*"):  # of a training that was killed: we hold the lock, it is dead
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=SCRATCH) as scratch:
            yield Path(scratch)


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_documents(run: _Run) -> None:
    """The documents that kefu.yml lets answer; without them the bot still does all the rest."""
    if run.assistant.config.answers is None:
        return
    try:
        sync_knowledge(run.settings, run.assistant, run.progress, run.say)
    except (KefuError, ModelError, OSError) as error:
        run.say(f"note: the documents were not read, what was read before goes on answering: {error}")


def _read_catalogue(run: _Run) -> None:
    """What suggestions are chosen from, embedded before a customer waits for it."""
    knowledge = knowledge_of(run.settings, run.assistant)
    suggestions_of(run.settings, run.assistant, knowledge).prepare()


def _serving(run: _Run) -> str | None:
    """What CURRENT names; None before the first version, or where nobody can read it."""
    try:
        return run.registry.current(KIND)
    except ModelError as error:
        run.say(f"note: nothing is compared with: {error}")
        return None


def _champion(run: _Run, serving: str | None) -> str | None:
    """The version that serves; None where its folder is damaged and would not load again."""
    if serving is None:
        return None
    try:
        verify(run.registry.path(KIND, serving), run.registry.manifest(KIND, serving))
    except ModelError as error:
        run.say(f"note: the version that serves is damaged and is not compared with: {error}")
        return None
    return serving


def _version_of(
    run: _Run, data: UnderstandingData, base_name: str, champion: str | None, scratch: Path, *, force: bool
) -> str:
    """A version made from this data: the champion, an earlier one made from the same, or a new one."""
    from training.dataset import DataError
    from training.finetune_understanding import fingerprint, train_understanding
    from training.report import before_after_table

    recipe = _recipe(run)
    for base in _bases(run, base_name):
        stamp = fingerprint(data, recipe, base)
        if not force:
            if champion is not None and run.registry.manifest(KIND, champion).fingerprint == stamp:
                return champion
            if (known := run.registry.find(KIND, stamp)) and _is_whole(run.registry, known):
                run.say(
                    f"version {known} was trained from exactly this before; it is compared again, not trained again"
                )
                return known
        # Versions are named by the second and their data: a second one of both would have the first one's name.
        while version_id(datetime.now(UTC), stamp) in run.registry.versions(KIND):
            time.sleep(0.05)
        try:
            out, assistant_id = scratch / base.name.replace("/", "_"), run.assistant.assistant_id
            made = train_understanding(data, recipe, base, out, assistant_id, run.progress)
        except BaseModelNotFound as error:  # known only when its files are read
            _tell_fallback(run, base_name, str(error))
            continue
        except DataError as error:
            raise AssistantError(f"{run.assistant.root}: {error}") from error
        run.console.print(before_after_table(made))
        return run.registry.add(KIND, out)
    raise AssertionError("unreachable: the n-gram base is always found")


def _is_whole(registry: Registry, version: str) -> bool:
    try:
        verify(registry.path(KIND, version), registry.manifest(KIND, version))
    except ModelError:
        return False
    return True


def _recipe(run: _Run) -> Recipe:
    from training.recipes import RECIPES

    name = run.recipe or run.assistant.config.recipe
    if name not in RECIPES:
        where = "--recipe" if run.recipe else run.assistant.root / "kefu.yml"
        raise AssistantError(f"{where}: unknown recipe '{name}'; one of {', '.join(RECIPES)}")
    return replace(RECIPES[name], seed=run.seed)  # threads stay: another machine's would make another fingerprint


def _bases(run: _Run, name: str) -> Iterator[BaseModel]:
    """The base by its name, then the character n-grams, which need nothing."""
    if name != NGRAM:
        try:
            yield _resolved(run, name)
        except BaseModelNotFound as error:
            _tell_fallback(run, name, str(error))
    yield ngram_base()


def _resolved(run: _Run, name: str) -> BaseModel:
    bases = run.settings.bases_dir
    if importlib.util.find_spec("torch") is None and not (bases / "exports").is_dir():
        # Not worth fetching a hundred megabytes that nothing here can read.
        raise BaseModelNotFound("PyTorch is not installed; pip install 'kefu[train]'")
    return resolve_base(name, bases, run.say)


def _tell_fallback(run: _Run, name: str, why: str) -> None:
    text = (
        f"The pretrained base [bold]{escape(name)}[/] cannot be used:\n{escape(why)}\n\n"
        "Trained instead: a model of character n-grams. It knows the words of your examples and nothing else, so it "
        "will miss what customers say in other words. Fix the cause and train again."
    )
    run.console.print(Panel(text, title="no pretrained model", border_style="bold yellow"))


# ---- the gate ----


@dataclass(frozen=True)
class Candidate:
    """A loaded version as the dialogue sees one; nobody else waits for it, so it reads at once."""

    reader: TrainedUnderstander

    @property
    def version(self) -> str:
        return self.reader.version

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        return self.reader.read(texts)


def _judge(run: _Run, champion: str | None, challenger: str) -> _Judgement:
    """Compare two versions on the fixed tests and in the test conversations, as they would serve."""
    from training.gate import decide, first_version

    theirs = run.load(challenger)
    ours = None if champion is None else _loaded_champion(run, champion, theirs)
    results = _rehearse(run, theirs, run.tests.conversations)
    _print_conversations(run, results)
    if ours is None:
        reason = first_version().reason
        return _Judgement(may_serve=True, reason=reason, verdict=None, conversations=results)
    verdict = decide(_judged(run, ours), _judged(run, theirs))
    if verdict.slices:
        run.console.print(verdict.table())
    broken = _broken(run, ours, results)
    reasons = []
    if taken_back := _taken_back(run.registry, challenger):
        reasons.append(f"it was rolled back on {taken_back}")
    if not verdict.is_promoted:
        reasons.append(verdict.reason)
    if broken:
        reasons.append(f"test conversations that went well with the champion fail: {', '.join(broken)}")
    passed = verdict.reason if verdict.slices else "there is nothing to compare it on"
    return _Judgement(
        may_serve=not reasons, reason="; ".join(reasons) or passed, verdict=verdict, conversations=results
    )


def _loaded_champion(run: _Run, version: str, beside: TrainedUnderstander) -> TrainedUnderstander | None:
    """None where this program cannot load it: after its next start the server could not either."""
    try:
        return run.load(version, beside)
    except ModelError as error:
        run.say(f"note: the version that serves does not load and is not compared with: {error}")
        return None


def _judged(run: _Run, reader: TrainedUnderstander) -> dict[str, tuple[Judged, ...]]:
    from training.evaluate import judge, judged_as, read_all
    from training.parts import judge_entities

    understood = read_all(reader, run.tests.intents)
    judged = {
        "intent": judged_as(run.tests.intents, understood, "intent"),
        "entities": judge_entities(run.tests.intents, understood),
    }
    if reader.sentiment_head is not None:
        judged["sentiment"] = judge(reader, run.tests.sentiment, "sentiment")
    return {task: answers for task, answers in judged.items() if answers}


def _rehearse(
    run: _Run, reader: TrainedUnderstander, conversations: Sequence[TestConversation]
) -> tuple[ConversationResult, ...]:
    if not conversations:
        return ()

    async def play() -> tuple[ConversationResult, ...]:
        bot = Bot.of(run.assistant, actions_of(run.assistant), run.learned)
        bot = replace(bot, knowledge=knowledge_of(run.settings, run.assistant))
        try:
            return tuple(await play_conversations(bot, Candidate(reader), conversations, run.progress))
        finally:
            await bot.close()

    return asyncio.run(play())


def _broken(run: _Run, champion: TrainedUnderstander, results: Sequence[ConversationResult]) -> list[str]:
    """Conversations that fail with the challenger and go well with the champion."""
    played = zip(run.tests.conversations, results, strict=True)
    before = _rehearse(run, champion, [conversation for conversation, result in played if not result.passed])
    return [result.name for result in before if result.passed]


def _taken_back(registry: Registry, version: str) -> str | None:
    """When a person rolled this very version back, unless it was promoted again since."""
    touching = [c for c in registry.history(KIND) if version in (c.version, c.replaced)]
    last = touching[-1] if touching else None
    return last.at if last and last.action == "rollback" and last.replaced == version else None


def _print_conversations(run: _Run, results: Sequence[ConversationResult]) -> None:
    if not results:
        return
    run.say(f"{sum(r.passed for r in results)} of {len(results)} test conversations went as written")
    for result in results:
        if not result.passed:
            run.say(result.diff())
