"""The passages of a company's documents, found by meaning and by words, and how sure it is that one of them answers.

An index is a folder: `passages.jsonl`, `vectors.npy`, `index.json`. `sync` makes a new one beside the old, embedding
only what changed, and moves `CURRENT` to it; a server that holds the old one goes on with it until it looks again.

Where several machines share an index (`bot.answers.sharing`) the folder is where it is made.

Invariant: a folder that `CURRENT` names is complete and never changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bot.answers.documents import DocumentProblem, Passage, read_passages
from models.base import ArtifactInvalid
from models.embeddings import Embedder

FORMAT = 7
CURRENT = "CURRENT"
JUDGE, GUARD = "JUDGE", "GUARD"
"""Files that name the cross-encoder that judges the search, and the one that judges what a generator wrote."""
MOST_TERMS = 300  # of a message; a customer who pastes pages asks in the first lines
KEPT = 2  # indexes beside the current one: a server may still read them
BATCH = 32
WORDS_COUNT = 0.1
"""How much all of a question's words in a passage add to a cosine. Chosen on the starter's training questions."""
ASKED_COUNTS = 1.0
"""How much a passage gains for being the answer to a known question nearby: by how much that one is nearer than known
questions about different passages are to each other (UNRELATED, a quantile of the nearest), in each script by itself.
Chosen on questions of five authors with the others' known: R@1 of one's English questions .553 to .658 (n = 228), of
another's Chinese ones .785 and .785 (n = 237), against .2 for both scripts together."""
UNRELATED = 0.01
MOST_COMPARED, BLOCK = 4_000, 256
"""Known questions that are compared with all others to find that quantile, and how many of them at a time."""
OTHER_LANGUAGE_COSTS = 0.06
"""What a passage in another language than the customer's must be better by. Chosen on training questions of documents
that a tuned encoder had not learned from: own language first .949 to .969 in English (n = 392), .947 to .971 in Chinese
(n = 339)."""

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that was found.

    Attributes:
        score: cosine of question and passage, plus what the shared words add; higher is better.
        coverage: which share of the question's words, by how much they tell, is in the passage; 0–1.
        asked: cosine of the question and the nearest known one that this passage answers; 0 where none is known.
    """

    passage: Passage
    score: float
    cosine: float
    coverage: float
    asked: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What was found for a question.

    Attributes:
        hits: best first.
        mean, spread: of the cosines of the question and every passage there is, found or not.
        of_none: cosine of the question and the nearest known one that no document answers; 0 where there is none.
    """

    hits: Sequence[Hit] = ()
    mean: float = 0.0
    spread: float = 0.0
    of_none: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether the best passage answers: a logistic regression over the evidence of `bot.answers.gate`.

    From `threshold` on it is believed, from `worth_showing` on it may be offered.
    """

    weights: tuple[float, ...]
    bias: float
    threshold: float
    worth_showing: float = 1.0

    def probability(self, found: Sequence[float]) -> float:
        logit = self.bias + sum(w * x for w, x in zip(self.weights, found, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What `sync` did. `documents` and `passages` are all there are now."""

    documents: int
    passages: int
    embedded: int
    removed: int
    languages: Mapping[str, int]
    problems: tuple[DocumentProblem, ...]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Questions that were asked before, and what answers them.

    Attributes:
        questions: Q texts.
        rows: for each the passages that answer it, as their places in the index; none: no document does.
        vectors: (Q, D).
    """

    questions: tuple[str, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 1), dtype=np.float32))


class PassageIndex(Protocol):
    """What is searched in: `KnowledgeIndex` has all of it in memory, a database may have it instead. Thread-safe."""

    @property
    def embedder(self) -> str:
        """The name of what made its vectors."""
        ...

    @property
    def judge(self) -> str | None:
        """The name of the cross-encoder that its gates were fitted with."""
        ...

    @property
    def gates(self) -> Mapping[str, Gate]:
        """By script."""
        ...

    @property
    def size(self) -> int:
        """How many passages there are."""
        ...

    def search(
        self, question: str, vector: Floats, *, limit: int = 5, day: date, language: str | None = None,
        without: str | None = None, response_of: str | None = None, but_itself: bool = False,
    ) -> Ranking:  # fmt: skip
        """The passages that answer best.

        Args:
            vector: the question's, (D,).
            day: what is not valid then is not found.
            language: passages in it come before equally good ones in another.
            without: a document (`Passage.source`) that is left out.
            response_of: the intent whose response is found too; others' never are.
            but_itself: a known question does not count for itself: so it teaches, and measures, what others will see.
        """
        ...

    def missing(self, question: str, passages: Sequence[Passage]) -> Missing:
        """What of the question's words stands in none of these passages."""
        ...

    def beside(self, passage: Passage) -> Sequence[Passage]:
        """All passages of its document, itself among them."""
        ...

    def find(self, passage_id: str) -> Passage | None:
        """None where it is not there."""
        ...

    def known_vector(self, question: str) -> Floats | None:
        """(D,) of a known question; None where it is none."""
        ...


class KnowledgeIndex:
    """What was read from one folder of documents. Thread-safe: nothing changes after it was made.

    A `PassageIndex`, whose methods say more.
    """

    def __init__(
        self, passages: Sequence[Passage], vectors: Floats, embedder: str, gates: Mapping[str, Gate] | None = None,
        known: Known | None = None, judge: str | None = None,
    ) -> None:  # fmt: skip
        self.passages, self.vectors, self.embedder, self.judge = tuple(passages), vectors, embedder, judge
        self.gates: Mapping[str, Gate] = gates or {}
        self.known = known or Known()

    @property
    def size(self) -> int:
        return len(self.passages)

    def asked(self, question: str, vector: Floats, *, but_itself: bool = False) -> tuple[Floats, float]:
        """Cosines to what was asked before: (N,) of each passage's nearest known question, and of the nearest one that
        no document answers; 0 where there is none.

        Args:
            but_itself: a known question does not count for itself: so it teaches, and measures, what others will see.
        """
        nearest, of_none = np.zeros(len(self.passages), dtype=np.float32), 0.0
        if not self.known.questions:
            return nearest, of_none
        cosines = self.known.vectors @ vector
        if but_itself and (itself := self._place.get(question)) is not None:
            cosines[itself] = 0.0
        places, owners = self._owners
        np.maximum.at(nearest, owners, cosines[places])
        return nearest, float(cosines[self._of_none].max(initial=0.0))

    def known_vector(self, question: str) -> Floats | None:
        place = self._place.get(question)
        return None if place is None else self.known.vectors[place]

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {question: place for place, question in enumerate(self.known.questions)}

    @cached_property
    def _of_none(self) -> NDArray[np.bool_]:
        return np.array([not rows for rows in self.known.rows], dtype=bool)

    @cached_property
    def _owners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Each pair of a known question and a passage that answers it."""
        pairs = [(place, row) for place, rows in enumerate(self.known.rows) for row in rows]
        both = np.array(pairs, dtype=np.intp).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    @cached_property
    def unrelated(self) -> Mapping[str, float]:
        """By script, how near known questions about different passages come to each other, at the least."""
        places, owners = self._owners
        scripts = np.array([script_of(self.known.questions[place]) for place in places])
        return {
            script: _nearest_other(self.known.vectors, places[scripts == script], owners[scripts == script])
            for script in set(scripts.tolist())
        }

    @cached_property
    def _words(self) -> _Words:
        return _Words([passage.indexed for passage in self.passages])

    def search(
        self, question: str, vector: Floats, *, limit: int = 5, day: date, language: str | None = None,
        without: str | None = None, response_of: str | None = None, but_itself: bool = False,
    ) -> Ranking:  # fmt: skip
        if not self.passages:
            return Ranking()
        cosines = self.vectors @ vector
        coverage = self._words.coverage(question)
        asked, of_none = self.asked(question, vector, but_itself=but_itself)
        unrelated = self.unrelated.get(script_of(question), 1.0)
        scores = cosines + WORDS_COUNT * coverage + ASKED_COUNTS * np.maximum(asked - unrelated, 0)
        if language is not None:
            is_other = np.array([passage.language != language for passage in self.passages])
            scores = scores - OTHER_LANGUAGE_COSTS * is_other
        hits = []
        for place in np.argsort(-scores, kind="stable"):
            passage = self.passages[place]
            is_wanted = passage.response in (None, response_of) and passage.source != without
            if is_wanted and passage.is_valid(day):
                found = (float(each[place]) for each in (scores, cosines, coverage, asked))
                names = ("score", "cosine", "coverage", "asked")
                hits.append(Hit(passage=passage, **dict(zip(names, found, strict=True))))
            if len(hits) == limit:
                break
        return Ranking(hits=hits, mean=float(cosines.mean()), spread=float(cosines.std()), of_none=of_none)

    def missing(self, question: str, passages: Sequence[Passage]) -> Missing:
        return self._words.missing(question, [self._row[passage.id] for passage in passages])

    def beside(self, passage: Passage) -> list[Passage]:
        return self._documents[passage.source]

    def find(self, passage_id: str) -> Passage | None:
        row = self._row.get(passage_id)
        return None if row is None else self.passages[row]

    @cached_property
    def _row(self) -> Mapping[str, int]:
        return {passage.id: row for row, passage in enumerate(self.passages)}

    @cached_property
    def _documents(self) -> Mapping[str, list[Passage]]:
        found: dict[str, list[Passage]] = {}
        for passage in self.passages:
            found.setdefault(passage.source, []).append(passage)
        return found


def _nearest_other(vectors: Floats, places: NDArray[np.intp], owners: NDArray[np.intp]) -> float:
    """The UNRELATED quantile of the cosines to the nearest other question with another owner. A question's place is its
    row of `vectors`; one that several passages answer stands there with each."""
    if len(set(owners.tolist())) < 2:
        return 1.0
    seen = np.linspace(0, len(owners) - 1, min(len(owners), MOST_COMPARED)).astype(np.intp)
    among = vectors[places]
    nearest = []
    for start in range(0, len(seen), BLOCK):
        rows = seen[start : start + BLOCK]
        is_same = (owners[rows, None] == owners) | (places[rows, None] == places)
        cosines = np.where(is_same, -1.0, among[rows] @ among.T)
        nearest.append(cosines.max(axis=1))
    return float(np.quantile(np.concatenate(nearest), UNRELATED))


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Of a question's words, what some passages lack. Weights are inverse document frequencies.

    `share`: of all their weight; `heaviest`: the weight of the one that tells most; `unknown`: the share of words that
    are in no passage at all.
    """

    share: float
    heaviest: float
    unknown: float


def words_of(question: str) -> list[str]:
    """Each word that counts, once."""
    return sorted(set(terms(question)[:MOST_TERMS]))


def weight_of(stands_in: int, n: int) -> float:
    """How much a word tells that stands in so many of n passages."""
    return math.log((n + 1) / (stands_in + 0.5))


def what_is_missing(stand_in: Mapping[str, int], n: int, is_there: Callable[[str], bool]) -> Missing:
    """Of a question's words, each with how many of n passages it stands in, those that are not there."""
    weights = {term: weight_of(count, n) for term, count in stand_in.items()}
    lacking = [weight for term, weight in weights.items() if not is_there(term)]
    return Missing(
        share=sum(lacking) / (sum(weights.values()) or 1.0),
        heaviest=max(lacking, default=0.0),
        unknown=sum(not count for count in stand_in.values()) / max(1, len(stand_in)),
    )


class _Words:
    """Inverse document frequencies, and in which passages each word stands."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for term in set(terms(text)):
                rows.setdefault(term, []).append(row)
        self._rows = {term: np.array(found, dtype=np.int32) for term, found in rows.items()}
        self._n = len(texts)

    def _stands_in(self, term: str) -> int:
        return len(self._rows[term]) if term in self._rows else 0

    def missing(self, question: str, rows: Sequence[int]) -> Missing:
        stand_in = {term: self._stands_in(term) for term in words_of(question)}
        return what_is_missing(
            stand_in, self._n, lambda term: term in self._rows and bool(np.isin(rows, self._rows[term]).any())
        )

    def coverage(self, question: str) -> Floats:
        """(N,): the share of the question's words in each passage, weighted by how rare they are."""
        covered, total = np.zeros(self._n, dtype=np.float32), 0.0
        for term in words_of(question):
            weight = weight_of(self._stands_in(term), self._n)
            total += weight
            if term in self._rows:
                covered[self._rows[term]] += weight
        return covered / total if total > 0 else covered


_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[a-z0-9]+(?:[.,][0-9]+)?")
_RUN = re.compile(r"[\u3400-\u9fff]+")
_ENDINGS = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s|ly)$")
_COMMON = frozenset(
    """a an and any are as at be but by can could did do does for from had has have how i if in is it its me my no not
    of on or our please shall should so than that the their them then there they this to up us was we were what when
    where which who why will with would you your""".split()  # noqa: SIM905  a list of words, not of literals
)
_COMMON_ZH = frozenset("的了吗呢吧啊是我你您们请问一下这那个有没可以能不怎么什")


def terms(text: str) -> list[str]:
    """A text's words for counting: English ones without their endings, Chinese ones as pairs of characters."""
    folded = text.casefold()
    words = [_ENDINGS.sub("", word) for word in _LATIN.findall(folded) if word not in _COMMON]
    for run in _RUN.findall(folded):
        pairs = [run[start : start + 2] for start in range(len(run) - 1)] or [run]
        words += [pair for pair in pairs if not _COMMON_ZH.issuperset(pair)]
    return words


def script_of(text: str) -> str:
    """ "han" where there is a Chinese character in it, else "other": what is near and what is not differs by it."""
    return "han" if _HAN.search(text) else "other"


def today_in(timezone: str) -> date:
    """The day there: what a document says until a day is true until that day ends in the shop's own time zone."""
    return datetime.now(ZoneInfo(timezone)).date()


# ---- on disk ----


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
    """Let the file name this, at once: who reads it meanwhile sees the old name or the new one."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(f"{name}\n", encoding="utf-8")
    partial.replace(file)


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


# ---- whether it answers ----


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question to judge the search by. `sources`: where its answer is (`returns.md`, `returns.md#how-long`); none:
    nowhere, it must be left unanswered."""

    question: str
    sources: tuple[str, ...] = ()
    language: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def is_from(passage: Passage, sources: Iterable[str]) -> bool:
    return any(source in (passage.source, f"{passage.source}#{passage.anchor}") for source in sources)
