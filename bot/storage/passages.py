"""The index of a company's documents in PostgreSQL, with pgvector: shared by every machine, searched where it lies.

An index is five tables of its own, `knowledge_<id>_…`, filled in one transaction and never changed; an old one is
dropped. They are no migration's: they need an extension that not every PostgreSQL has, and are made anew from the
documents whenever FORMAT changes. Vectors are compared one with each, so nothing is found that the folder's index
would not find.

Invariant: an index that `knowledge_indexes` has a row of is whole.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from bot.answers.documents import Passage
from bot.answers.index_files import (
    CURRENT,
    FORMAT,
    KEPT,
    current,
    encoder_folder,
    gates_of,
    judge_folder,
    line_of,
    load_index,
    passage_of,
    place,
    write_name,
)
from bot.answers.knowledge import (
    ASKED_COUNTS,
    OTHER_LANGUAGE_COSTS,
    WORDS_COUNT,
    Floats,
    Gate,
    Hit,
    KnowledgeIndex,
    Known,
    Ranking,
)
from bot.answers.sharing import MARKS
from bot.answers.words import Missing, script_of, terms, weight_of, what_is_missing, words_of
from bot.errors import ConfigurationError, SchemaOutdated
from bot.storage.database import Database
from bot.storage.tables import knowledge_files, knowledge_indexes, knowledge_marks
from models.base import ArtifactInvalid

PART_BYTES = 4 << 20
"""An encoder's files travel in pieces of this size."""
QUESTIONS_REMEMBERED = 256
_NOT_AVAILABLE = {"0A000", "58P01"}  # as PostgreSQL 16 and later say that an extension is not installed, and as earlier
_MAY_NOT = "42501"

_TABLES = {
    "passages": "place int PRIMARY KEY, id text NOT NULL, source text NOT NULL, line text NOT NULL, "
    "words text[] NOT NULL",
    # What the search reads of every passage, and nothing else.
    "vectors": "place int PRIMARY KEY, language text NOT NULL, source text NOT NULL, response text, valid_from date, "
    "valid_until date, vector vector({size}) NOT NULL",
    "words": "word text NOT NULL, places int[] NOT NULL",
    "questions": "place int PRIMARY KEY, question text NOT NULL, is_answered bool NOT NULL DEFAULT false, "
    "vector vector({size}) NOT NULL",
    "owners": "question int NOT NULL, passage int NOT NULL",
}
_INDEXES = {"passages": "(id)", "words": "USING hash (word)", "owners": "(question)"}

# `KnowledgeIndex.search`, line by line.
_SEARCH = """
WITH near AS MATERIALIZED (
    SELECT place, language, source, response, valid_from, valid_until, -(vector <#> CAST(:vector AS vector)) AS cosine
    FROM {vectors}
), covered AS (
    SELECT stands.place, sum(asked.weight) / CAST(:total AS float8) AS coverage
    FROM unnest(CAST(:words AS text[]), CAST(:weights AS float8[])) AS asked(word, weight)
    JOIN {words} AS words ON words.word = asked.word
    CROSS JOIN LATERAL unnest(words.places) AS stands(place)
    GROUP BY stands.place
), known AS MATERIALIZED (
    SELECT place, is_answered,
        CASE WHEN question = CAST(:itself AS text) THEN 0 ELSE -(vector <#> CAST(:vector AS vector)) END AS cosine
    FROM {questions}
), nearest AS (
    SELECT owners.passage AS place, greatest(max(known.cosine), 0) AS cosine
    FROM known JOIN {owners} AS owners ON owners.question = known.place
    GROUP BY owners.passage
), best AS (
    SELECT near.place, near.cosine, coalesce(covered.coverage, 0) AS coverage, coalesce(nearest.cosine, 0) AS asked,
        near.cosine + :words_count * coalesce(covered.coverage, 0)
        + :asked_counts * greatest(coalesce(nearest.cosine, 0) - :unrelated, 0)
        - CASE WHEN near.language <> CAST(:language AS text) THEN :other_language_costs ELSE 0 END AS score
    FROM near LEFT JOIN covered ON covered.place = near.place LEFT JOIN nearest ON nearest.place = near.place
    WHERE (near.valid_from IS NULL OR near.valid_from <= :day)
        AND (near.valid_until IS NULL OR :day <= near.valid_until)
        AND (near.response IS NULL OR near.response = CAST(:response_of AS text))
        AND near.source IS DISTINCT FROM CAST(:without AS text)
    ORDER BY score DESC, near.place LIMIT :limit
)
SELECT passages.line, best.score, best.cosine, best.coverage, best.asked,
    (SELECT avg(cosine) FROM near) AS mean, (SELECT stddev_pop(cosine) FROM near) AS spread,
    (SELECT greatest(max(cosine), 0) FROM known WHERE NOT is_answered) AS of_none
FROM best JOIN {passages} AS passages ON passages.place = best.place
ORDER BY best.score DESC, best.place
"""


# Compiling a query takes longer than it saves.
_NO_JIT = text("SET LOCAL jit = off")
# Of all assistants: who forgets an encoder must see whether somebody has just brought it.
_ONE_PUSH = text("SELECT pg_advisory_xact_lock(hashtextextended('kefu knowledge', 0))")


class PostgresIndex:
    """A `PassageIndex` that stays in the database; what is in memory is a few numbers. Thread-safe."""

    def __init__(self, db: Database, number: int, about: Mapping[str, Any]) -> None:
        self._db, self._tables = db, _names(number)
        self.embedder: str = about["embedder"]
        self.judge: str | None = about["judge"]
        self.gates: Mapping[str, Gate] = gates_of(about["gates"])
        self.size: int = about["size"]
        self._unrelated: Mapping[str, float] = about["unrelated"]
        # A question is looked at several times, and nothing about it changes.
        self._stand_in = lru_cache(QUESTIONS_REMEMBERED)(self._counted)

    def search(
        self, question: str, vector: Floats, *, limit: int = 5, day: date, language: str | None = None,
        without: str | None = None, response_of: str | None = None, but_itself: bool = False,
    ) -> Ranking:  # fmt: skip
        weights = {word: weight_of(count, self.size) for word, count in self._stand_in(question).items()}
        given = {
            "vector": _written(vector),
            "words": [*weights],
            "weights": [*weights.values()],
            "total": sum(weights.values()) or 1.0,
            "itself": question if but_itself else None,
            "unrelated": self._unrelated.get(script_of(question), 1.0),
            "words_count": WORDS_COUNT,
            "asked_counts": ASKED_COUNTS,
            "other_language_costs": OTHER_LANGUAGE_COSTS,
            "language": language,
            "day": day,
            "response_of": response_of,
            "without": without,
            "limit": limit,
        }
        found = self._rows(_SEARCH, given)
        hits = [
            Hit(
                passage=passage_of(row.line),
                score=float(row.score),
                cosine=float(row.cosine),
                coverage=float(row.coverage),
                asked=float(row.asked),
            )
            for row in found
        ]
        if not found:
            return Ranking()
        first = found[0]
        return Ranking(
            hits=hits, mean=float(first.mean), spread=float(first.spread), of_none=float(first.of_none or 0.0)
        )

    def missing(self, question: str, passages: Sequence[Passage]) -> Missing:
        there = {word for passage in passages for word in terms(passage.indexed)}
        return what_is_missing(self._stand_in(question), self.size, there.__contains__)

    def beside(self, passage: Passage) -> list[Passage]:
        wanted = "SELECT line FROM {passages} WHERE source = :source ORDER BY place"
        return [passage_of(row.line) for row in self._rows(wanted, {"source": passage.source})]

    def find(self, passage_id: str) -> Passage | None:
        rows = self._rows("SELECT line FROM {passages} WHERE id = :id", {"id": passage_id})
        return passage_of(rows[0].line) if rows else None

    def known_vector(self, question: str) -> Floats | None:
        wanted = "SELECT vector::text AS vector FROM {questions} WHERE question = :question"
        rows = self._rows(wanted, {"question": question})
        return _read_vector(rows[0].vector) if rows else None

    def _counted(self, question: str) -> dict[str, int]:
        """Each of its words, and how many passages it stands in."""
        words = words_of(question)
        wanted = "SELECT word, cardinality(places) AS n FROM {words} WHERE word = ANY(CAST(:words AS text[]))"
        found = {row.word: int(row.n) for row in self._rows(wanted, {"words": words})}
        return {word: found.get(word, 0) for word in words}

    def _rows(self, query: str, given: Mapping[str, Any]) -> Sequence[Any]:
        statement = text(query.format_map(self._tables))

        def read(conn: Connection) -> Sequence[Any]:
            conn.execute(_NO_JIT)
            return conn.execute(statement, given).all()

        return self._db.read_now(read)


class PostgresKnowledge:
    """A `SharedIndex` in the database that KEFU_DATABASE_URL names."""

    def __init__(self, db: Database, assistant_id: str) -> None:
        """Raises ConfigurationError where the database is none of PostgreSQL."""
        if db.dialect != "postgresql":
            raise ConfigurationError(
                f"KEFU_KNOWLEDGE_STORE=postgresql, but the database is SQLite ({db.place}): let KEFU_DATABASE_URL "
                "name a PostgreSQL with pgvector, or leave KEFU_KNOWLEDGE_STORE out"
            )
        self._db, self._assistant_id = db, assistant_id

    def current(self) -> str | None:
        return self._marks((CURRENT,)).get(CURRENT)

    def opened(self, store: Path) -> PostgresIndex | None:
        found = self._db.read_now(self._find_current)
        if found is None:
            return None
        number, about = found
        if about["format"] != FORMAT:
            raise ArtifactInvalid(
                f"{self._db.place}: the knowledge index has format {about['format']}, this program reads {FORMAT}; "
                "kefu knowledge sync"
            )
        self._bring(store, about)
        return PostgresIndex(self._db, number, about)

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        if not self._db.is_current():
            raise SchemaOutdated
        self._make_ready()
        with self._db.alone(f"kefu knowledge {self._assistant_id}"):
            yield

    def pull(self, store: Path) -> None:
        found = self._db.read_now(self._find_current)
        if found is not None and found[1]["format"] == FORMAT:
            number, about = found
            self._bring(store, about)
            if about["name"] != current(store):
                place(store, about["name"], lambda: self._db.read_now(lambda conn: _whole(conn, number, about)))
        for mark, value in self._marks(MARKS).items():
            write_name(store / mark, value)

    def push(self, store: Path) -> None:
        name, index = current(store), load_index(store)
        assert name is not None  # `sync` has just written it
        assert index is not None
        marks = {mark: (store / mark).read_text(encoding="utf-8").strip() for mark in MARKS if (store / mark).exists()}

        def publish(conn: Connection) -> None:
            conn.execute(_ONE_PUSH)
            for folder in _encoders(store, index.embedder, index.judge):
                _upload(conn, folder)
            if _find(conn, self._assistant_id, name) is None:
                _make(conn, self._assistant_id, name, index)
            _set_marks(conn, self._assistant_id, {**marks, CURRENT: name})
            _forget(conn, self._assistant_id, name)

        self._db.write_now(publish)

    def keep(self, store: Path, mark: str, value: str) -> None:
        write_name(store / mark, value)
        self._db.write_now(lambda conn: _set_marks(conn, self._assistant_id, {mark: value}))

    def close(self) -> None:
        self._db.dispose()

    def _find_current(self, conn: Connection) -> tuple[int, dict[str, Any]] | None:
        name = _marks_of(conn, self._assistant_id, (CURRENT,)).get(CURRENT)
        return None if name is None else _find(conn, self._assistant_id, name)

    def _marks(self, keys: Iterable[str]) -> dict[str, str]:
        return self._db.read_now(lambda conn: _marks_of(conn, self._assistant_id, keys))

    def _make_ready(self) -> None:
        """Raises ConfigurationError where there is no pgvector, or no right to it."""
        try:
            self._db.write_now(lambda conn: conn.execute(text("CREATE EXTENSION IF NOT EXISTS vector")))
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state in _NOT_AVAILABLE:
                raise ConfigurationError(
                    f"KEFU_KNOWLEDGE_STORE=postgresql: the PostgreSQL at {self._db.place} has no pgvector; install it "
                    "there (Debian and Ubuntu: postgresql-NN-pgvector of apt.postgresql.org; most hosted ones have "
                    "it), or leave the variable out: the index is a folder then"
                ) from error
            if state == _MAY_NOT:
                raise ConfigurationError(
                    f"KEFU_KNOWLEDGE_STORE=postgresql: {self._db.url.username} may not make an extension in "
                    f"{self._db.place}; let its administrator run there, once: CREATE EXTENSION vector"
                ) from error
            raise

    def _bring(self, store: Path, about: Mapping[str, Any]) -> None:
        """The encoders' files into the folder, where they are not. Raises ArtifactInvalid where they are nowhere."""
        for folder in _encoders(store, about["embedder"], about["judge"]):
            if not folder.is_dir():
                self._download(folder)

    def _download(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        of_it = knowledge_files.c.folder == folder.name
        wanted = select(knowledge_files.c.file, knowledge_files.c.part).where(of_it).order_by("file", "part")
        pieces = self._db.read_now(lambda conn: conn.execute(wanted).all())
        if not pieces:
            raise ArtifactInvalid(f"{folder}: not here, and not in {self._db.place}; kefu knowledge sync")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".encoder-") as work:
            made = Path(work) / folder.name
            made.mkdir()
            for file, part in pieces:
                with (made / Path(file).name).open("ab") as stream:
                    stream.write(self._piece(folder.name, file, part))
            if not folder.is_dir():  # another process of this machine was quicker
                made.rename(folder)

    def _piece(self, folder: str, file: str, part: int) -> bytes:
        key = {"folder": folder, "file": file, "part": part}
        wanted = select(knowledge_files.c.content).filter_by(**key)
        content = self._db.read_now(lambda conn: conn.execute(wanted).scalar_one_or_none())
        if content is None:
            raise ArtifactInvalid(f"{folder}: another index has just taken its place in {self._db.place}")
        return bytes(content)


def _encoders(store: Path, embedder: str, judge: str | None) -> list[Path]:
    return [encoder_folder(store, embedder), *([judge_folder(store, judge)] if judge else [])]


def _upload(conn: Connection, folder: Path) -> None:
    """Its files, unless they are there."""
    there = select(func.count()).select_from(knowledge_files).where(knowledge_files.c.folder == folder.name)
    if conn.execute(there).scalar_one():
        return
    for file in sorted(folder.iterdir()):
        for part, content in enumerate(_pieces(file)):
            row = {"folder": folder.name, "file": file.name, "part": part, "content": content}
            conn.execute(insert(knowledge_files).values(row))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(PART_BYTES):
            yield piece


def _names(number: int) -> dict[str, str]:
    return {table: f"knowledge_{number}_{table}" for table in _TABLES}


def _find(conn: Connection, assistant_id: str, name: str) -> tuple[int, dict[str, Any]] | None:
    """The number of an index and what is said about it."""
    of_it = knowledge_indexes.c.assistant_id == assistant_id, knowledge_indexes.c.name == name
    row = conn.execute(select(knowledge_indexes).where(*of_it)).one_or_none()
    return None if row is None else (row.id, {**row.about, "name": row.name})


def _marks_of(conn: Connection, assistant_id: str, keys: Iterable[str]) -> dict[str, str]:
    wanted = select(knowledge_marks.c.key, knowledge_marks.c.value).where(
        knowledge_marks.c.assistant_id == assistant_id, knowledge_marks.c.key.in_([*keys])
    )
    return {row.key: row.value for row in conn.execute(wanted)}


def _set_marks(conn: Connection, assistant_id: str, marks: Mapping[str, str]) -> None:
    for key, value in marks.items():
        row = insert(knowledge_marks).values(assistant_id=assistant_id, key=key, value=value)
        conn.execute(row.on_conflict_do_update(index_elements=["assistant_id", "key"], set_={"value": value}))


# ---- an index's tables ----


def _make(conn: Connection, assistant_id: str, name: str, index: KnowledgeIndex) -> None:
    """Its row and its tables; what the one that counts has already is copied there, and does not travel."""
    before = _of_same_encoder(conn, assistant_id, index.embedder)
    about = {
        "format": FORMAT,
        "embedder": index.embedder,
        "judge": index.judge,
        "gates": {script: asdict(gate) for script, gate in index.gates.items()},
        "unrelated": dict(index.unrelated),
        "size": index.size,
    }
    row = {"assistant_id": assistant_id, "name": name, "about": about, "created_at": datetime.now(UTC)}
    number = conn.execute(insert(knowledge_indexes).values(row).returning(knowledge_indexes.c.id)).scalar_one()
    tables = _names(number)
    for table, columns in _TABLES.items():
        conn.execute(text(f"CREATE TABLE {tables[table]} ({columns.format(size=index.vectors.shape[1])})"))
    _fill_passages(conn, index, tables, before)
    _fill_questions(conn, index, tables, before)
    conn.execute(
        text(
            "INSERT INTO {words} SELECT word, array_agg(place ORDER BY place) "
            "FROM {passages}, unnest(words) AS word GROUP BY word".format_map(tables)
        )
    )
    for table, on in _INDEXES.items():
        conn.execute(text(f"CREATE INDEX ON {tables[table]} {on}"))
    for table in tables.values():
        conn.execute(text(f"ANALYZE {table}"))


def _of_same_encoder(conn: Connection, assistant_id: str, embedder: str) -> dict[str, str] | None:
    """The tables of the index that counts, if its vectors are good for the next one too."""
    name = _marks_of(conn, assistant_id, (CURRENT,)).get(CURRENT)
    found = _find(conn, assistant_id, name) if name else None
    is_good = found is not None and (found[1]["format"], found[1]["embedder"]) == (FORMAT, embedder)
    return _names(found[0]) if found is not None and is_good else None


def _fill_passages(
    conn: Connection, index: KnowledgeIndex, tables: Mapping[str, str], before: Mapping[str, str] | None
) -> None:
    lines = [line_of(passage) for passage in index.passages]
    stored = _stored(conn, before, "SELECT md5(line) AS key, place FROM {passages}")
    keys = [hashlib.md5(line.encode(), usedforsecurity=False).hexdigest() for line in lines]
    fresh = _copied(conn, tables, before, stored, keys, {"passages": ("id", "source", "line", "words"), "vectors": (
        "language", "source", "response", "valid_from", "valid_until", "vector")})  # fmt: skip
    texts = (
        (row, each.id, each.source, lines[row], sorted(set(terms(each.indexed))))
        for row in fresh
        if (each := index.passages[row])
    )
    _copy_in(conn, tables["passages"], texts)
    vectors = (
        (row, each.language, each.source, each.response, each.valid_from, each.valid_until, _written(vector))
        for row in fresh
        for each, vector in [(index.passages[row], index.vectors[row])]
    )
    _copy_in(conn, tables["vectors"], vectors)


def _fill_questions(
    conn: Connection, index: KnowledgeIndex, tables: Mapping[str, str], before: Mapping[str, str] | None
) -> None:
    known = index.known
    stored = _stored(conn, before, "SELECT question AS key, place FROM {questions}")
    fresh = _copied(conn, tables, before, stored, known.questions, {"questions": ("question", "vector")})
    rows = ((row, known.questions[row], False, _written(known.vectors[row])) for row in fresh)
    _copy_in(conn, tables["questions"], rows)
    _copy_in(conn, tables["owners"], ((row, owner) for row, owners in enumerate(known.rows) for owner in owners))
    answered = "UPDATE {questions} SET is_answered = true WHERE place IN (SELECT question FROM {owners})"
    conn.execute(text(answered.format_map(tables)))


def _stored(conn: Connection, before: Mapping[str, str] | None, query: str) -> dict[str, int]:
    return {} if before is None else {row.key: row.place for row in conn.execute(text(query.format_map(before)))}


def _copied(
    conn: Connection, tables: Mapping[str, str], before: Mapping[str, str] | None, stored: Mapping[str, int],
    keys: Sequence[str], columns: Mapping[str, Sequence[str]],
) -> list[int]:  # fmt: skip
    """Copy what is stored under the same key to its new place; the places that are left are returned."""
    moved = {row: stored[key] for row, key in enumerate(keys) if key in stored}
    if before is None:
        return [*range(len(keys))]
    for table, names in columns.items():
        listed = ", ".join(names)
        copy = (
            f"INSERT INTO {tables[table]} (place, {listed}) SELECT moved.here, {listed} FROM {before[table]} AS old "
            "JOIN unnest(CAST(:there AS int[]), CAST(:here AS int[])) AS moved(there, here) ON moved.there = old.place"
        )
        conn.execute(text(copy), {"there": [*moved.values()], "here": [*moved]})
    return [row for row in range(len(keys)) if row not in moved]


def _copy_in(conn: Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """By COPY, which takes a hundred thousand vectors in seconds."""
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _whole(conn: Connection, number: int, about: Mapping[str, Any]) -> KnowledgeIndex:
    """All of an index, in memory."""
    tables = _names(number)

    def rows(query: str) -> Sequence[Any]:
        return conn.execute(text(query.format_map(tables))).all()

    passages = [passage_of(row.line) for row in rows("SELECT line FROM {passages} ORDER BY place")]
    vectors = [row.vector for row in rows("SELECT vector::text AS vector FROM {vectors} ORDER BY place")]
    asked = rows("SELECT question, vector::text AS vector FROM {questions} ORDER BY place")
    owners: list[list[int]] = [[] for _ in asked]
    for row in rows("SELECT question, passage FROM {owners} ORDER BY question, passage"):
        owners[row.question].append(row.passage)
    known = Known(
        questions=tuple(row.question for row in asked),
        rows=tuple(map(tuple, owners)),
        vectors=_read_vectors([row.vector for row in asked]),
    )
    made_with = about["embedder"], gates_of(about["gates"])
    return KnowledgeIndex(passages, _read_vectors(vectors), *made_with, known, about["judge"])


def _forget(conn: Connection, assistant_id: str, name: str) -> None:
    """All but this index and the youngest others; and the encoders that made none of those that are left."""
    of_it = knowledge_indexes.c.assistant_id == assistant_id, knowledge_indexes.c.name != name
    others = select(knowledge_indexes.c.id).where(*of_it).order_by(knowledge_indexes.c.created_at.desc())
    old = [*conn.execute(others.offset(KEPT)).scalars()]
    for number in old:
        conn.execute(text(f"DROP TABLE {', '.join(_names(number).values())}"))
    conn.execute(delete(knowledge_indexes).where(knowledge_indexes.c.id.in_(old)))
    left = conn.execute(select(knowledge_indexes.c.about)).scalars()
    kept = {folder.name for about in left for folder in _encoders(Path(), about["embedder"], about["judge"])}
    conn.execute(delete(knowledge_files).where(knowledge_files.c.folder.not_in(kept)))


def _written(vector: Floats) -> str:
    """As pgvector reads it; nine digits say a float32 exactly."""
    return "[" + ",".join([f"{value:.9g}" for value in vector.tolist()]) + "]"


def _read_vector(written: str) -> Floats:
    return np.fromstring(written[1:-1], dtype=np.float32, sep=",")


def _read_vectors(written: Sequence[str]) -> Floats:
    return np.stack([_read_vector(each) for each in written]) if written else np.zeros((0, 1), dtype=np.float32)
