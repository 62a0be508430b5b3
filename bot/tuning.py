"""What an assistant's written questions teach: the encoder that finds passages, the cross-encoder that judges them, and
the generator that words answers. `kefu knowledge tune` comes here.

Of every kind a part, chosen by document, is never learned from. It decides whether encoder and cross-encoder serve; of
the generator it only says how much was learned: whether that may word answers is the operator's decision.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from bot.answers.documents import sentences
from bot.answers.exchange import Exchange
from bot.answers.finder import JUDGED, Finder
from bot.answers.gate import SearchScores, earlier_of, fit_gates, measure
from bot.answers.guard import THRESHOLDS, fit_thresholds, least_support, script_of_language
from bot.answers.index_files import GUARD, JUDGE, judge_folder, load_index, only_writer, write_name
from bot.answers.knowledge import Asked, KnowledgeIndex, is_from, today_in
from bot.answers.service import loaded
from bot.answers.writer import messages, source_of
from bot.answers.writers import ABOUT, BASE, PACKAGES, WRITER, Server, writer_name
from bot.assistant.loader import Assistant
from bot.errors import AssistantError, KefuError
from bot.knowing import (
    FEWEST_PAIRS,
    NOTHING_READ,
    TRAINING,
    fetch_shared,
    follow_ups_of,
    is_held_out,
    set_mark,
    sync_knowledge,
    told_messages,
    training_questions,
)
from bot.settings import STARTER, Settings
from models.artifact import link_file
from models.cross_encoder import CrossEncoder, Task
from models.languages import identify_language
from models.pretrained import link_generator, resolve_base
from training.finetune_cross_encoder import RECIPE, Judged, tune_cross_encoder
from training.finetune_generation import ADAPTER, GenerationRecipe, Lesson, finetune_generator

CLAIMS = "claims"
"""A folder of `answers/`: sentences that a source supports, and the same with a small change that it does not."""
AFTER_ANOTHER = 0.3
"""Of the other questions, so many are shown to the generator after another one and its reply, which have nothing to do
with them: that is to be learned too."""
SIBLINGS = 0.3
"""Of the written replies, so many are also shown beside another section of their document, which does not support them.
A reply is taken in so often that the pairs of `claims/` stay half of what support is learned from."""

WRITES = ("en",)
"""What the local generator learns to write if kefu.yml names no languages: SmolLM2, the default, was made for it."""
HELD_OUT_REPLIES = 60

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class JudgeOutcome:
    """The search on held-out questions as it is and with the new cross-encoder, each by `crossed`.

    Attributes:
        stopped: of the held-out false claims, the share that it stops, by script. It guards what a generator writes in
            any case.
        is_kept: it judges the search too: more questions were answered rightly, less those answered wrongly.
    """

    before: SearchScores
    after: SearchScores
    stopped: Mapping[str, float]
    trained_on: int
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A line of `claims/*.jsonl`."""

    source: str
    true: str
    false: str


def tune_judge(settings: Settings, assistant: Assistant, progress: Progress, say: Say) -> JudgeOutcome:
    """Fine-tune the cross-encoder; it judges the search if more of the held-out questions are answered with it.

    Raises:
        KefuError: nothing was read yet, or there are too few questions.
    """
    store, threads = settings.knowledge_dir(assistant.assistant_id), settings.learning_threads
    sync_knowledge(settings, assistant, progress, say)
    finder = loaded(store, threads)
    assert finder is not None  # `sync_knowledge` has just written it
    asked = training_questions(assistant)[0]
    learned = [each for each in asked if not is_held_out(each)]
    held_out = [each for each in asked if is_held_out(each)]
    if sum(bool(each.sources) for each in learned) < FEWEST_PAIRS:
        raise KefuError(f"fewer than {FEWEST_PAIRS} questions with a passage to learn from")
    day = today_in(assistant.config.timezone)
    claims = claims_of(assistant)
    known, others = split_claims(claims)
    lessons: dict[Task, Sequence[Judged]] = {
        "answers": [*_answer_lessons(finder, learned)],
        "supports": [*_support_lessons(finder, learned, known)],
    }
    told = told_messages(assistant)

    base = resolve_base(assistant.config.base, settings.bases_dir, say)
    with tempfile.TemporaryDirectory(dir=store, prefix=".judge-") as work:
        made = Path(work) / "judge"
        recipe = replace(RECIPE, threads=min(RECIPE.threads, threads))
        tune_cross_encoder(base, lessons, made, progress, recipe)
        judge = CrossEncoder(made, threads)
        thresholds = fit_thresholds(judge, [(each.true, each.source) for each in others])
        (made / THRESHOLDS).write_text(json.dumps(thresholds) + "\n", encoding="utf-8")
        before = crossed(finder, held_out, told, day)  # with the one that judges now, if any
        after = crossed(replace(finder, judge=judge), held_out, told, day)
        is_kept = after.answered - after.wrong > before.answered - before.wrong
        with only_writer(store):
            if not judge_folder(store, judge.name).is_dir():
                made.rename(judge_folder(store, judge.name))
            write_name(store / GUARD, judge.name)
            if is_kept:
                set_mark(settings, assistant, JUDGE, judge.name)
    sync_knowledge(settings, assistant, progress, say)
    count = sum(map(len, lessons.values()))
    stopped = _stopped(judge, others, thresholds)
    return JudgeOutcome(before=before, after=after, stopped=stopped, trained_on=count, is_kept=is_kept)


def crossed(finder: Finder[KnowledgeIndex], asked: Sequence[Asked], told: Sequence[str], day: date) -> SearchScores:
    """The search on these questions, each half measured with gates that were fitted on the other."""
    halves = [asked[0::2], asked[1::2]]
    found = []
    for measured, learned in (halves, reversed(halves)):
        plain = finder.index
        gates = fit_gates(finder, learned, told, day)
        index = KnowledgeIndex(plain.passages, plain.vectors, plain.embedder, gates, plain.known)
        found.append(measure(replace(finder, index=index), measured, day))
    return _together(found)


def _together(parts: Sequence[SearchScores]) -> SearchScores:
    n, n_none = sum(part.n for part in parts), sum(part.n_none for part in parts)
    names = ("recall_at_1", "recall_at_5", "mrr", "answered", "wrong")
    shares = {name: sum(getattr(part, name) * part.n for part in parts if part.n) / max(1, n) for name in names}
    anyway = sum(part.answered_anyway * part.n_none for part in parts if part.n_none) / max(1, n_none)
    return SearchScores(n=n, n_none=n_none, answered_anyway=anyway, **shares)


def _stopped(judge: CrossEncoder, claims: Sequence[Claim], thresholds: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    scores = judge.score("supports", [(each.false, each.source) for each in claims])
    for claim, score in zip(claims, scores, strict=True):
        language = identify_language(claim.false)
        found.setdefault(script_of_language(language), []).append(bool(score < least_support(thresholds, language)))
    return {script: sum(each) / len(each) for script, each in found.items()}


def split_claims(claims: Sequence[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Those to learn from, and at most one in six to hold out. Sources that quote the same words stay together: on
    sentences about a passage that it has learned, a judge is surer than on others."""
    learned: list[Claim] = []
    held_out: list[Claim] = []
    for group in _by_source(claims):
        is_room = len(held_out) + len(group) <= len(claims) // 6
        (held_out if is_room else learned).extend(group)
    return learned, held_out


def _by_source(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Claims in groups, by their first; in one, where a source is another's or a part of it."""
    groups: list[list[Claim]] = []
    for claim in claims:
        near = [group for group in groups if any(_quote_alike(claim, each) for each in group)]
        if not near:
            groups.append([claim])
            continue
        near[0].append(claim)
        for group in near[1:]:
            near[0] += group
            groups.remove(group)
    return groups


def _quote_alike(one: Claim, other: Claim) -> bool:
    return one.source in other.source or other.source in one.source


def claims_of(assistant: Assistant) -> list[Claim]:
    """The assistant's own pairs; where it has none the starter's, which are about what any shop says."""
    return read_claims(assistant.root) or read_claims(STARTER)


def read_claims(root: Path) -> list[Claim]:
    """All of an assistant's `answers/claims/*.jsonl`, in an order that mixes them.

    Raises:
        AssistantError: with file and line.
    """
    found: list[Claim] = []
    for path in sorted((root / TRAINING / CLAIMS).glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                found.append(_claim(json.loads(line)))
            except ValueError as error:
                raise AssistantError(f"{path}:{number}: not a pair of claims: {error}") from error
    random.Random(0).shuffle(found)
    return found


def _claim(value: object) -> Claim:
    parts = {name: value.get(name) if isinstance(value, dict) else None for name in ("source", "true", "false")}
    for name, part in parts.items():
        if not isinstance(part, str) or not part.strip():
            raise ValueError(f"`{name}` is missing, or no text")
    return Claim(**parts)  # type: ignore[arg-type]


def _reply(asked: Asked) -> str:
    """The written reply; "" where there is none."""
    reply = asked.more.get("reply")
    return reply.strip() if isinstance(reply, str) else ""


def _answer_lessons(finder: Finder[KnowledgeIndex], asked: Sequence[Asked]) -> Iterator[Judged]:
    """Each question with its passage, and with the nearest that does not answer it."""
    rng = random.Random(0)
    for each in asked:
        vector = finder.embedder.questions([each.question])[0]
        cosines = finder.index.vectors @ vector
        near = [finder.index.passages[row] for row in (-cosines).argsort()[: 3 * JUDGED]]
        near = [passage for passage in near if passage.response is None and passage.language == each.language]
        right = next((one for one in finder.index.passages if is_from(one, each.sources[:1])), None)
        if right is not None:
            yield Judged(text=each.question, source=right.indexed, holds=True)
        others = [passage for passage in near if not is_from(passage, each.sources)]
        is_own = right is not None and right.language == each.language
        chosen = rng.sample(others[:JUDGED], min(len(others), 1)) if is_own else others[:2] if not each.sources else []
        for passage in chosen:
            yield Judged(text=each.question, source=passage.indexed, holds=False)


def _support_lessons(
    finder: Finder[KnowledgeIndex], asked: Sequence[Asked], claims: Sequence[Claim]
) -> Iterator[Judged]:
    """The pairs of claims; and sentences of written replies beside their own section and beside another."""
    for claim in claims:
        yield Judged(text=claim.true, source=claim.source, holds=True)
        yield Judged(text=claim.false, source=claim.source, holds=False)
    rng = random.Random(0)
    replies = [each for each in asked if each.sources and _reply(each)]
    for each in rng.sample(replies, min(len(replies), len(claims))):
        right = next((one for one in finder.index.passages if is_from(one, each.sources[:1])), None)
        if right is None:
            continue
        sentence = rng.choice(sentences(_reply(each)))
        yield Judged(text=sentence, source=right.text, holds=True)
        beside = [one for one in finder.index.beside(right) if not is_from(one, each.sources)]
        if beside and rng.random() < SIBLINGS:
            yield Judged(text=_reply(each), source=rng.choice(beside).text, holds=False)


@dataclass(frozen=True, kw_only=True)
class WriterOutcome:
    """Loss a token of held-out replies, before and after."""

    loss_before: float
    loss_after: float
    trained_on: int


def tune_writer(
    settings: Settings, assistant: Assistant, progress: Progress, say: Say, recipe: GenerationRecipe | None = None
) -> WriterOutcome:
    """Fine-tune the generator on the written replies of `answers/*.jsonl`; it words answers from then on, where the
    cross-encoder lets it.

    Raises:
        KefuError: there are too few replies, or packages are missing.
    """
    _need({"peft": "train", "transformers": "train", "gguf": "train"})
    store = settings.knowledge_dir(assistant.assistant_id)
    fetch_shared(settings, assistant)
    learned, held_out = reply_lessons(settings, assistant)
    languages = _learned_languages(learned, say)
    lessons = [each.lesson for each in learned if each.language in languages]
    most = HELD_OUT_REPLIES // len(languages)
    others = [one.lesson for language in languages for one in [x for x in held_out if x.language == language][:most]]
    base = resolve_base(assistant.config.generation.base, settings.bases_dir, say, "generator")
    server: Server = "llama.cpp" if base.gguf else "transformers"
    _need(PACKAGES[server])
    with tempfile.TemporaryDirectory(dir=store, prefix=".writer-") as work:
        made = Path(work)
        outcome = finetune_generator(base, lessons, others, made, recipe or GenerationRecipe(), progress)
        shutil.rmtree(made / "runs", ignore_errors=True)
        if not base.gguf:
            link_generator(base, made / BASE)
        name = writer_name(base.sha256, made / ADAPTER / "adapter_model.safetensors")
        about = {
            "name": f"{base.name}/{name}",
            "server": server,
            "languages": languages,
            "base_sha256": base.sha256,
            **({"terms": base.terms} if base.terms else {}),
            **asdict(outcome),
        }
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        (made / ABOUT).write_text(text, encoding="utf-8")
        with only_writer(store):
            target = store / name
            if not target.is_dir():
                shutil.copytree(made, target, copy_function=_linked)
                target.chmod(0o755)  # who serves may be another user than who tunes
            write_name(store / WRITER, name)
            for old in store.glob("writer-*"):
                if old != target:  # who still serves it has its files open
                    shutil.rmtree(old, ignore_errors=True)
    return WriterOutcome(loss_before=outcome.loss_before, loss_after=outcome.loss_after, trained_on=len(lessons))


def _need(packages: Mapping[str, str]) -> None:
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise KefuError(f"tuning needs {package}: pip install 'kefu[{extra}]'")


def _learned_languages(learned: Sequence[Reply], say: Say) -> list[str]:
    """Those with enough replies to learn from."""
    counts = Counter(each.language for each in learned)
    enough = [language for language, count in counts.items() if count >= FEWEST_PAIRS]
    if not enough:
        raise KefuError(f"{len(learned)} written replies to learn from; at least {FEWEST_PAIRS} are needed")
    for language in counts.keys() - set(enough):
        say(f"{counts[language]} written replies in {language} are too few to learn from: it is not written.")
    return enough


def _linked(source: str, target: str) -> None:
    link_file(Path(source), Path(target))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A written reply as a lesson."""

    language: str
    lesson: Lesson


def reply_lessons(settings: Settings, assistant: Assistant) -> tuple[list[Reply], list[Reply]]:
    """Replies with the passages they were written from, in the languages the generator is to write; those that are
    learned, and those that are held out. Some with what was said before."""
    index = load_index(settings.knowledge_dir(assistant.assistant_id))
    if index is None:
        raise KefuError(NOTHING_READ)
    brand, languages = assistant.brand, assistant.config.generation.languages or WRITES
    learned: list[Reply] = []
    held_out: list[Reply] = []
    asked = training_questions(assistant)[0]
    answered = [each for each in asked if each.sources and _reply(each) and not is_held_out(each)]
    rng = random.Random(0)
    for each in [*asked, *follow_ups_of(assistant)]:
        right = next((one for one in index.passages if is_from(one, each.sources[:1])), None)
        if right is None or each.language not in languages or right.language != each.language or not _reply(each):
            continue
        language = each.language
        earlier = earlier_of(each)
        if earlier is None and rng.random() < AFTER_ANOTHER:
            another = rng.choice([one for one in answered if one.language == language] or [each])
            earlier = Exchange(customer=another.question, bot=_reply(another)) if another is not each else None
        prompt = messages(*brand.names(language), source_of(right), each.question, earlier)
        lesson = Lesson(messages=prompt, reply=_reply(each))
        (held_out if is_held_out(each) else learned).append(Reply(language=language, lesson=lesson))
    return learned, held_out
