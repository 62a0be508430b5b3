"""An index of documents as files: made, kept, found again.

It is a folder: `passages.jsonl`, `vectors.npy`, `index.json`. `sync` makes a new one beside the old, embedding only
what changed, and moves `CURRENT` to it; a server that holds the old one goes on with it until it looks again.

Where several machines share an index (`bot.answers.sharing`) the folder is where it is made.

Invariant: a folder that `CURRENT` names is complete and never changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bot.answers.documents import DocumentProblem, Passage, read_passages
from bot.answers.knowledge import Asked, Floats, Gate, KnowledgeIndex, Known
from models.artifact import write_whole
from models.base import ArtifactInvalid
from models.embeddings import Embedder

FORMAT = 7
CURRENT = "CURRENT"
JUDGE, GUARD = "JUDGE", "GUARD"
"""Files that name the cross-encoder that judges the search, and the one that judges what a generator wrote."""
KEPT = 2  # indexes beside the current one: a server may still read them
BATCH = 32

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What `sync` did. `documents` and `passages` are all there are now."""

    documents: int
    passages: int
    embedded: int
    removed: int
    languages: Mapping[str, int]
    problems: tuple[DocumentProblem, ...]


def load_index(store: Path) -> KnowledgeIndex | None:
    """The current index; None where there is none yet. Raises ArtifactInvalid where it is damaged."""
    name = current(store)
    return None if name is None else _read(store / name)


def _read(folder: Path) -> KnowledgeIndex:
    try:
        about = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}")
        lines = (folder / "passages.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        passages = [passage_of(line) for line in lines]
        vectors = np.load(folder / "vectors.npy", allow_pickle=False).astype(np.float32)
        if len(passages) != len(vectors):
            raise ValueError(f"{len(passages)} passages and {len(vectors)} vectors")
        known, gates = _read_known(folder), gates_of(about["gates"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
        raise ArtifactInvalid(f"{folder}: the knowledge index cannot be read ({error}); kefu knowledge sync") from error
    return KnowledgeIndex(passages, vectors, about["embedder"], gates, known, about["judge"])


def _read_known(folder: Path) -> Known:
    lines = (folder / "asked.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    found = [json.loads(line) for line in lines]
    vectors = np.load(folder / "asked.npy", allow_pickle=False).astype(np.float32)
    if len(found) != len(vectors):
        raise ValueError(f"{len(found)} known questions and {len(vectors)} vectors")
    questions, rows = tuple(each["question"] for each in found), tuple(tuple(each["rows"]) for each in found)
    return Known(questions=questions, rows=rows, vectors=vectors)


def current(store: Path) -> str | None:
    """The name of the index that counts; another one as soon as `sync` has ended."""
    try:
        return (store / CURRENT).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def line_of(passage: Passage) -> str:
    """As JSON, in ASCII: a document may hold U+2028 and others at which readers of lines break them."""
    return json.dumps(asdict(passage), default=str)


def passage_of(line: str) -> Passage:
    """What `line_of` wrote."""
    values = json.loads(line)
    days = {name: date.fromisoformat(values[name]) for name in ("valid_from", "valid_until") if values[name]}
    return Passage(**{**values, "valid_from": None, "valid_until": None, **days})


def gates_of(values: Mapping[str, Any]) -> dict[str, Gate]:
    """What `asdict` made of each."""
    return {name: Gate(**{**gate, "weights": tuple(gate["weights"])}) for name, gate in values.items()}


@contextmanager
def only_writer(store: Path) -> Iterator[None]:
    """Alone with the store: who syncs or tunes beside another waits. Readers never do."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / "writing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sync(
    documents: Path, store: Path, embedder: Embedder, fit: Callable[[KnowledgeIndex], Mapping[str, Gate]],
    responses: Sequence[Passage] = (), asked: Sequence[Asked] = (), lessons: str = "", judge: str | None = None,
    progress: Progress = lambda step, done, total: None,
) -> SyncReport:  # fmt: skip
    """Bring the index in `store` up to date with the folder of documents; by `only_writer`.

    Args:
        fit: makes the gates of the new index, by script (`script_of`).
        responses: what the assistant says anyway, indexed beside the documents.
        asked: questions whose answers are known; a customer's is compared with them.
        lessons: another text whenever `fit` would learn from something else.
        judge: the name of the cross-encoder that `fit` asks.
    """
    read, problems = read_passages(documents)
    passages = [*{passage.id: passage for passage in (*read, *responses)}.values()]
    known, known_questions = _known(store, embedder.name)
    fresh = [passage for passage in passages if passage.id not in known]
    questions = _answered(passages, asked)
    lines = _lines(passages)
    made_of = hashlib.sha256(
        f"{FORMAT}\n{embedder.name}\n{judge}\n{lessons}\n{questions}\n{lines}".encode()
    ).hexdigest()[:16]
    name = f"index-{made_of}"
    if not _is_whole(store / name):
        read_as = {passage.id: passage.indexed for passage in passages}
        vectors = _embedded("knowledge", read_as, known, embedder.passages, progress)
        as_asked = {question: question for question in questions}
        of_questions = _embedded("questions", as_asked, known_questions, embedder.questions, progress)
        before = Known(questions=tuple(questions), rows=tuple(questions.values()), vectors=of_questions)
        index = KnowledgeIndex(passages, vectors, embedder.name, known=before, judge=judge)
        _write(store / name, index, fit(index))
    _point_to(store, name)
    return SyncReport(
        documents=len({passage.source for passage in read}),
        passages=len(read),
        embedded=len(fresh),
        removed=len(known.keys() - {passage.id for passage in passages}),
        languages=dict(Counter(passage.language for passage in read)),
        problems=tuple(problems),
    )


def _embedded(
    step: str, texts: Mapping[str, str], known: Mapping[str, Floats], embed: Callable[[Sequence[str]], Floats],
    progress: Progress,
) -> Floats:  # fmt: skip
    """The vectors of texts by their names, in order; those that are not known are made."""
    vectors = dict(known)
    fresh = [name for name in texts if name not in known]
    for start in range(0, len(fresh), BATCH):
        progress(step, start, len(fresh))
        part = fresh[start : start + BATCH]
        vectors |= zip(part, embed([texts[name] for name in part]), strict=True)
    if fresh:
        progress(step, len(fresh), len(fresh))
    rows = [vectors[name] for name in texts]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, 1), dtype=np.float32)


def _answered(passages: Sequence[Passage], asked: Sequence[Asked]) -> dict[str, tuple[int, ...]]:
    """Questions → the rows of the passages that answer them, in whatever language. Left out is one whose documents
    are not there."""
    rows: dict[str, list[int]] = {}
    for row, passage in enumerate(passages):
        for name in (passage.source, f"{passage.source}#{passage.anchor}"):
            rows.setdefault(name, []).append(row)
    found = {each.question: sorted({row for source in each.sources for row in rows.get(source, ())}) for each in asked}
    return {each.question: tuple(found[each.question]) for each in asked if found[each.question] or not each.sources}


def _known(store: Path, embedder: str) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The vectors that are there already, of passages by id and of questions."""
    try:
        index = load_index(store)
    except ArtifactInvalid:
        return {}, {}
    if index is None or index.embedder != embedder:
        return {}, {}
    passages = {passage.id: vector for passage, vector in zip(index.passages, index.vectors, strict=True)}
    return passages, dict(zip(index.known.questions, index.known.vectors, strict=True))


def _is_whole(folder: Path) -> bool:
    """Whether an index is there and can be read; a damaged one is removed."""
    if not folder.is_dir():
        return False
    try:
        _read(folder)
    except ArtifactInvalid:
        shutil.rmtree(folder)
        return False
    return True


def place(store: Path, name: str, fetch: Callable[[], KnowledgeIndex]) -> None:
    """Let an index that was made elsewhere be the current one, fetched where it is not here; by `only_writer`."""
    if not _is_whole(store / name):
        index = fetch()
        _write(store / name, index, index.gates)
    _point_to(store, name)


def _lines(passages: Iterable[Passage]) -> str:
    return "".join(f"{line_of(each)}\n" for each in passages)


def _write(folder: Path, index: KnowledgeIndex, gates: Mapping[str, Gate]) -> None:
    found = {name: asdict(gate) for name, gate in gates.items()}
    about = {"format": FORMAT, "embedder": index.embedder, "judge": index.judge, "gates": found}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sync-") as work:
        made = Path(work) / folder.name
        made.mkdir()
        (made / "passages.jsonl").write_text(_lines(index.passages), encoding="utf-8")
        np.save(made / "vectors.npy", index.vectors.astype(np.float16))
        known = zip(index.known.questions, index.known.rows, strict=True)
        asked = "".join(json.dumps({"question": question, "rows": rows}) + "\n" for question, rows in known)
        (made / "asked.jsonl").write_text(asked, encoding="utf-8")
        np.save(made / "asked.npy", index.known.vectors.astype(np.float16))
        (made / "index.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        for file in made.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        made.rename(folder)


def _point_to(store: Path, name: str) -> None:
    """Let this index count, and forget all but the youngest others."""
    write_name(store / CURRENT, name)
    others = sorted(
        (each for each in store.glob("index-*") if each.name != name), key=lambda each: each.stat().st_mtime
    )
    for old in others[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    _forget_encoders(store)


def write_name(file: Path, name: str) -> None:
    """Let the file name this; it is what `current` and others read."""
    write_whole(file, f"{name}\n")


def _forget_encoders(store: Path) -> None:
    """Remove those, and the cross-encoders, that made none of the indexes that are left."""
    kept = set()
    for name in (JUDGE, GUARD):
        with suppress(FileNotFoundError):
            kept.add(judge_folder(store, (store / name).read_text(encoding="utf-8").strip()))
    for folder in store.glob("index-*"):
        with suppress(ArtifactInvalid):  # nobody reads a damaged one
            index = _read(folder)
            kept |= {encoder_folder(store, index.embedder), judge_folder(store, index.judge or "")}
    for folder in (*store.glob("encoder-*"), *store.glob("judge-*")):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def encoder_folder(store: Path, embedder: str) -> Path:
    """Beside the indexes: the files of the encoder of that name (`Embedder.name`), which made their vectors."""
    return store / f"encoder-{embedder.partition('/')[0]}"


def judge_folder(store: Path, judge: str) -> Path:
    """Beside the indexes: the files of the cross-encoder of that name (`CrossEncoder.name`)."""
    return store / f"judge-{judge}"
