"""An assistant's documents brought into its index: the encoder that reads them, what they are judged by, what to tell.

`kefu knowledge sync` and `kefu train` come here; looking up while a server runs is `bot.answers.service`'s.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.answers.documents import DOCUMENTS, DocumentProblem, Passage, of_response
from bot.answers.finder import Finder
from bot.answers.gate import SearchScores, earlier_of, fit_gates, measure, read_asked
from bot.answers.index_files import (
    JUDGE,
    SyncReport,
    encoder_folder,
    judge_folder,
    load_index,
    only_writer,
    sync,
    write_name,
)
from bot.answers.knowledge import Asked, Gate, KnowledgeIndex, PassageIndex, is_from, today_in
from bot.answers.service import finder_of, loaded
from bot.answers.sharing import TUNED, SharedIndex
from bot.app import shared_index_of
from bot.assistant.loader import Assistant
from bot.errors import AssistantError, KefuError
from bot.settings import Settings
from models.artifact import link_file
from models.base import OUT_OF_SCOPE_INTENTS, ArtifactInvalid, BaseModelNotFound
from models.cross_encoder import CrossEncoder
from models.embeddings import EncoderEmbedder
from models.languages import identify_language
from models.pretrained import NGRAM, resolve_base

TRAINING = "answers"
"""A folder of an assistant: questions that say where their answer is (`*.jsonl`)."""
FOLLOW_UPS = "followups"
"""A folder of `answers/`: questions that mean something only after what was said before."""
TOLD_AT_MOST = 400
FEWEST_PAIRS = 50
NOTHING_READ = "nothing has been read yet; run `kefu knowledge sync`"

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def documents_of(assistant: Assistant) -> Path:
    return assistant.root / DOCUMENTS


def sync_knowledge(settings: Settings, assistant: Assistant, progress: Progress, say: Say) -> SyncReport:
    """Read the documents, embed what is new, judge anew when to believe them.

    Raises:
        AssistantError: the assistant has no documents.
        KefuError: no base model can read them here.
        ConfigurationError: the index shall be shared where it cannot be.
    """
    documents = documents_of(assistant)
    if not documents.is_dir():
        raise AssistantError(
            f"{assistant.root} has no folder `{DOCUMENTS}/`; put Markdown, HTML, PDF, Word or CSV there"
        )
    store = settings.knowledge_dir(assistant.assistant_id)
    asked, problems = training_questions(assistant)
    told = told_messages(assistant)
    follow_ups = follow_ups_of(assistant)

    with only_writer_everywhere(settings, assistant):
        embedder = _embedder(settings, assistant, progress, say)
        judge = _judge(store, settings.learning_threads)
        # What a cross-encoder has learned from, it is too sure of.
        lessons = [each for each in asked if judge is None or is_held_out(each)]

        def fit(index: KnowledgeIndex) -> dict[str, Gate]:
            finder = Finder(index=index, embedder=embedder, judge=judge)
            return fit_gates(finder, lessons, told, today_in(assistant.config.timezone), follow_ups)

        after = [[each.question, each.sources, each.more] for each in follow_ups]
        learned_from = json.dumps(
            [told, after, *([each.question, each.sources] for each in lessons)], ensure_ascii=False
        )
        report = sync(
            documents, store, embedder, fit, _responses(assistant), asked, learned_from,
            judge.name if judge else None, progress,
        )  # fmt: skip
    for notice in (*report.problems, *problems, *_unknown_sources(settings, assistant, [*asked, *follow_ups])):
        say(f"note: {notice}")
    return report


@contextmanager
def only_writer_everywhere(settings: Settings, assistant: Assistant) -> Iterator[None]:
    """Alone with the index. Where it is shared what others made of it comes first, and what is made goes there."""
    store = settings.knowledge_dir(assistant.assistant_id)
    with only_writer(store), shared_index(settings, assistant) as shared:
        if shared is None:
            yield
            return
        with shared.only_writer():
            shared.pull(store)
            yield
            shared.push(store)


def fetch_shared(settings: Settings, assistant: Assistant) -> None:
    """Where the index is shared, bring into the folder what others made of it."""
    store = settings.knowledge_dir(assistant.assistant_id)
    with shared_index(settings, assistant) as shared:
        if shared is not None:
            with only_writer(store), shared.only_writer():
                shared.pull(store)


@contextmanager
def shared_index(settings: Settings, assistant: Assistant) -> Iterator[SharedIndex | None]:
    """`shared_index_of`, let go of at the end."""
    shared = shared_index_of(settings, assistant)
    try:
        yield shared
    finally:
        if shared is not None:
            shared.close()


@contextmanager
def finder_that_serves(settings: Settings, assistant: Assistant, threads: int) -> Iterator[Finder[PassageIndex]]:
    """What customers' questions are looked up with. Raises KefuError where nothing was read yet."""
    store = settings.knowledge_dir(assistant.assistant_id)
    with shared_index(settings, assistant) as shared:
        index: PassageIndex | None = shared.opened(store) if shared else load_index(store)
        if index is None:
            raise KefuError(NOTHING_READ)
        yield finder_of(index, store, threads)


def set_mark(settings: Settings, assistant: Assistant, mark: str, value: str) -> None:
    """Say how the next index is made (`MARKS`), here and where the index is shared; by `only_writer`."""
    store = settings.knowledge_dir(assistant.assistant_id)
    with shared_index(settings, assistant) as shared:
        if shared is None:
            write_name(store / mark, value)
        else:
            shared.keep(store, mark, value)


@dataclass(frozen=True, kw_only=True)
class TuneOutcome:
    """Search on the questions that were held out, with what served and with what was learned from the others.

    `is_kept`: the tuned encoder finds more of them, and reads the documents from now on.
    """

    before: SearchScores
    after: SearchScores
    trained_on: int
    is_kept: bool


def tune_knowledge(settings: Settings, assistant: Assistant, progress: Progress, say: Say) -> TuneOutcome:
    """Fine-tune the encoder that finds passages on the questions of `answers/`; a part of them, by document, only
    measures it. What was measured is what serves.

    Raises:
        KefuError: nothing was read yet, there are too few questions, or packages are missing.
    """
    for package in ("sentence_transformers", "datasets"):
        if importlib.util.find_spec(package) is None:
            raise KefuError(f"tuning needs {package}: pip install 'kefu[train]'")
    from training.finetune_retrieval import Pair, RetrievalRecipe, tune_retriever

    store, threads = settings.knowledge_dir(assistant.assistant_id), settings.learning_threads
    sync_knowledge(settings, assistant, progress, say)
    finder = loaded(store, threads)
    assert finder is not None  # `sync_knowledge` has just written it
    index = finder.index
    asked = [each for each in training_questions(assistant)[0] if each.sources]
    held_out = [each for each in asked if is_held_out(each)]
    learned = [each for each in asked if not is_held_out(each)]
    pairs = [
        Pair(question=each.question, passage=passage.indexed)
        for each in learned
        if (passage := next((one for one in index.passages if is_from(one, each.sources[:1])), None))
    ]
    if len(pairs) < FEWEST_PAIRS or not held_out:
        raise KefuError(f"{len(pairs)} questions with a passage to learn from; at least {FEWEST_PAIRS} are needed")
    day = today_in(assistant.config.timezone)
    before = measure(Finder(index=bare(index), embedder=finder.embedder), held_out, day)
    with tempfile.TemporaryDirectory(dir=store, prefix=".tuned-") as work:
        tuned = Path(work) / "encoder"
        base = resolve_base(assistant.config.base, settings.bases_dir, say)
        tune_retriever(base, pairs, tuned, RetrievalRecipe(), progress)
        reader = EncoderEmbedder(tuned, threads)
        vectors = reader.passages([passage.indexed for passage in index.passages])
        after = measure(
            Finder(index=KnowledgeIndex(index.passages, vectors, reader.name), embedder=reader), held_out, day
        )
        is_kept = after.mrr > before.mrr
        if is_kept:
            with only_writer(store):
                _placed(tuned, store, threads)
                set_mark(settings, assistant, TUNED, f"{base.sha256} {reader.name}")
    sync_knowledge(settings, assistant, progress, say)
    return TuneOutcome(before=before, after=after, trained_on=len(pairs), is_kept=is_kept)


def is_held_out(asked: Asked) -> bool:
    """One document in five, by its name: its questions are never learned from, whatever is added around them. Of those
    that no document answers, one question in five."""
    name = asked.sources[0].partition("#")[0] if asked.sources else asked.question
    return zlib.crc32(name.encode()) % 5 == 0


def evaluate_knowledge(settings: Settings, assistant: Assistant, file: Path) -> dict[str, SearchScores]:
    """The search on the questions of a file, by language and all together ("all")."""
    asked, problems = read_asked(file)
    if problems:
        raise AssistantError("\n".join(map(str, problems)))
    languages = sorted({each.language for each in asked if each.language})
    groups = {"all": asked, **{name: [each for each in asked if each.language == name] for name in languages}}
    day = today_in(assistant.config.timezone)
    with finder_that_serves(settings, assistant, settings.inference_threads) as finder:
        return {name: measure(finder, part, day) for name, part in groups.items()}


def training_questions(assistant: Assistant, *, unused: bool = False) -> tuple[list[Asked], list[DocumentProblem]]:
    """All of `answers/*.jsonl`; `unused`: also what a person has not decided on, or decided against."""
    asked: list[Asked] = []
    problems: list[DocumentProblem] = []
    for path in sorted((assistant.root / TRAINING).glob("*.jsonl")):
        found, wrong = read_asked(path, unused=unused)
        asked += found
        problems += wrong
    return asked, problems


def follow_ups_of(assistant: Assistant) -> list[Asked]:
    """All of an assistant's `answers/followups/*.jsonl`: as `answers/*.jsonl`, and what was said before (`earlier`).

    Raises:
        AssistantError: with file and line.
    """
    found: list[Asked] = []
    for path in sorted((assistant.root / TRAINING / FOLLOW_UPS).glob("*.jsonl")):
        asked, problems = read_asked(path)
        if problems:
            raise AssistantError(str(problems[0]))
        for each in asked:
            if earlier_of(each) is None:
                raise AssistantError(f"{path}: {each.question!r} needs `earlier`: {{customer: …, bot: …}}")
        found += asked
    return found


def _unknown_sources(settings: Settings, assistant: Assistant, asked: Sequence[Asked]) -> list[str]:
    index = load_index(settings.knowledge_dir(assistant.assistant_id))
    passages = index.passages if index else ()
    known = {name for each in passages for name in (each.source, f"{each.source}#{each.anchor}")}
    unknown = sorted({source for each in asked for source in each.sources if source not in known})
    return [f"{assistant.root / TRAINING}: no document is {source}" for source in unknown]


def _responses(assistant: Assistant) -> list[Passage]:
    """What is said anyway to the intents that may give way: `utter_<intent>`, every wording once."""
    config = assistant.config.answers
    found: dict[str, Passage] = {}
    for intent in sorted(config.instead_of if config else ()):
        for variation in assistant.domain.responses.get(f"utter_{intent}", ()):
            text = variation.body.get("text")
            if isinstance(text, str) and text.strip():
                passage = of_response(intent, text, identify_language(text))
                found[passage.id] = passage
    return [*found.values()]


def told_messages(assistant: Assistant) -> list[str]:
    """What customers say that no document answers, from the examples of the other intents; spread evenly."""
    config = assistant.config.answers
    asking = {*OUT_OF_SCOPE_INTENTS, *(config.instead_of if config else ())}
    texts = [example.text for example in assistant.nlu.examples if example.intent not in asking]
    count = min(len(texts), TOLD_AT_MOST)
    return [texts[place * len(texts) // count] for place in range(count)]


def _embedder(settings: Settings, assistant: Assistant, progress: Progress, say: Say) -> EncoderEmbedder:
    """The encoder that reads, beside the index: the base's, or what was tuned from it. Serving needs neither the base
    nor PyTorch."""
    name, store = assistant.config.base, settings.knowledge_dir(assistant.assistant_id)
    threads = settings.learning_threads
    if name == NGRAM:
        raise KefuError("kefu.yml: the base `ngram` reads no documents; name a pretrained one")
    if importlib.util.find_spec("torch") is None and not (settings.bases_dir / "exports").is_dir():
        raise KefuError("documents are read by a pretrained base, which needs PyTorch once: pip install 'kefu[train]'")
    from training.export import exported_encoder

    try:
        base = resolve_base(name, settings.bases_dir, say)
        if tuned := _tuned(store, base.sha256, threads):
            return tuned
        exported = exported_encoder(base, progress)
    except BaseModelNotFound as error:
        raise KefuError(f"the documents cannot be read: {error}") from error
    return _placed(exported, store, threads)


def bare(index: KnowledgeIndex) -> KnowledgeIndex:
    """The index without what was asked before: what the encoder finds by itself."""
    return KnowledgeIndex(index.passages, index.vectors, index.embedder)


def _judge(store: Path, threads: int) -> CrossEncoder | None:
    """The cross-encoder that judges the search, where one does."""
    try:
        name = (store / JUDGE).read_text(encoding="utf-8").strip()
        return CrossEncoder(judge_folder(store, name), threads) if name else None
    except (FileNotFoundError, ArtifactInvalid):
        return None


def _tuned(store: Path, base_sha256: str, threads: int) -> EncoderEmbedder | None:
    """The encoder that was tuned from this base, if it is still there."""
    try:
        base, name = (store / TUNED).read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):
        return None
    folder = encoder_folder(store, name)
    return EncoderEmbedder(folder, threads) if base == base_sha256 and folder.is_dir() else None


def _placed(encoder: Path, store: Path, threads: int) -> EncoderEmbedder:
    """The encoder's files in a folder of the store that is named after them."""
    embedder = EncoderEmbedder(encoder, threads)
    target = encoder_folder(store, embedder.name)
    store.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=store, prefix=".encoder-") as work:
            made = Path(work) / target.name
            made.mkdir()
            for file in encoder.iterdir():
                link_file(file, made / file.name)
            made.rename(target)
    return embedder
