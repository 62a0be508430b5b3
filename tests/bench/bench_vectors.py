"""The index of documents in memory (numpy) beside the one in PostgreSQL (pgvector): time and memory of a search.

python -m tests.bench.bench_vectors                  →  results/vectors.json (minutes)
python -m tests.bench.bench_vectors --large 10000    the large one smaller

- the starter as it is, and a large one: random unit vectors of 384 numbers, made-up words, a known question for every
  tenth passage. Random vectors say how long it takes and how much memory it needs, and nothing about what is found.
- memory: what a process of its own grows by when it opens the index and searches in it; the database's is not counted.
- HNSW, which Kefu does not use: how much of what an exact comparison finds it finds too, on vectors with structure (the
  starter's known questions), and how long one search takes among the large one's vectors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, create_engine, text

from bot.answers.documents import Passage
from bot.answers.index_files import encoder_folder, load_index, only_writer, place
from bot.answers.knowledge import Floats, KnowledgeIndex, Known, PassageIndex
from bot.storage.database import Database
from bot.storage.passages import PostgresKnowledge
from tests.bench.report import REPOSITORY, latency, write
from tests.bench.serving import trained_home
from tests.postgres import PostgresServer, binaries_with_pgvector, new_postgres

DAY = date(2026, 11, 30)
DIMENSIONS = 384
WORDS, WORDS_A_PASSAGE = 50_000, 60
SEARCHES, WARM_UP = 300, 20
NEIGHBOURS, ASKED = 10, 500
EF_SEARCH = (40, 100, 200)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--large", type=int, default=100_000, help="passages of the large index")
    options.add_argument("--memory-of", nargs=2, metavar=("SIDE", "PLACE"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.memory_of:
        print(json.dumps(memory_of(*given.memory_of)))
        return 0
    starter = load_index(trained_home() / "knowledge" / "kefu-starter")
    assert starter is not None
    # Not under /tmp, which may be memory.
    parent = REPOSITORY / ".kefu" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder, pgvector_server() as server:
        small = measured(starter, Path(folder) / "starter", new_postgres(server))
        url = new_postgres(server)
        large = measured(made_up(given.large), Path(folder) / "large", url)
        hnsw = hnsw_beside_exact(starter.known.vectors, url)
    ratio = large["numpy"]["memory_mib"] / max(large["pgvector"]["memory_mib"], 1)
    targets = {
        "starter: a search in pgvector p50 <= 20 ms": small["pgvector"]["search"]["p50_ms"] <= 20,
        "large: a search in pgvector p99 <= 500 ms": large["pgvector"]["search"]["p99_ms"] <= 500,
        "large: a tenth of the memory of numpy": ratio >= 10,
    }
    write("vectors", {"starter": small, "large": large, "hnsw": hnsw}, targets=targets)
    return 0 if all(targets.values()) else 1


@contextmanager
def pgvector_server() -> Iterator[PostgresServer]:
    """A server with its defaults."""
    with tempfile.TemporaryDirectory(prefix="kefu-pgvector-") as binaries:
        Path(binaries).chmod(0o755)
        server = PostgresServer(binaries_with_pgvector(Path(binaries)))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def made_up(n: int) -> KnowledgeIndex:
    """n passages of made-up words, each as frequent as its rank says; vectors that have no structure at all."""
    rng = np.random.default_rng(0)
    ranks = np.minimum(rng.zipf(1.3, size=(n, WORDS_A_PASSAGE)), WORDS)
    passages = [
        Passage(
            id=f"p{row}", source=f"en/{row // 5}.md", title=f"page {row // 5}", heading=f"part {row}", anchor=str(row),
            text=" ".join(f"word{rank}" for rank in ranks[row]), language="en",
        )
        for row in range(n)
    ]  # fmt: skip
    asked = range(0, n, 10)
    known = Known(
        questions=tuple(f"what about part {row} and word{ranks[row, 0]}?" for row in asked),
        rows=tuple((row,) for row in asked),
        vectors=unit(rng, len(asked)),
    )
    return KnowledgeIndex(passages, unit(rng, n), "made-up", known=known)


def unit(rng: np.random.Generator, n: int) -> Floats:
    """(n, DIMENSIONS) of length 1."""
    vectors = rng.standard_normal((n, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measured(index: KnowledgeIndex, store: Path, url: str) -> dict[str, Any]:
    """Both sides over one index: how long it takes to share, to search, and what a process needs for it."""
    with only_writer(store):
        encoder = encoder_folder(store, index.embedder)
        encoder.mkdir(parents=True)
        (encoder / "encoder.json").write_text("{}", encoding="utf-8")  # no text is read here
        place(store, "index-bench", lambda: index)
    database = Database.open(url)
    database.upgrade()
    shared = PostgresKnowledge(database, "bench")
    started = time.perf_counter()
    with shared.only_writer():
        shared.push(store)
    pushed_s = time.perf_counter() - started
    there = shared.opened(store)
    assert there is not None
    here = load_index(store)
    assert here is not None
    seconds = searches({"numpy": here, "pgvector": there}, here.known, SEARCHES)
    shared.close()
    figures = {
        side: {
            "search": latency(seconds[side]),
            "memory_mib": memory_in_a_process(side, store if side == "numpy" else url),
        }
        for side in seconds
    }
    n = {"passages": index.size, "known_questions": len(index.known.questions), "searches": SEARCHES}
    return {**n, "first_push_s": round(pushed_s, 1), **figures}


def searches(sides: dict[str, PassageIndex], known: Known, n: int) -> dict[str, list[float]]:
    """Seconds of each search; the sides take turns at the same questions."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for place_ in range(n + WARM_UP):
        row = place_ * 7 % len(known.questions)
        for side, index in sides.items():
            started = time.perf_counter()
            ranking = index.search(known.questions[row], known.vectors[row], day=DAY, language="en", but_itself=True)
            seconds = time.perf_counter() - started
            assert ranking.hits
            if place_ >= WARM_UP:
                found[side].append(seconds)
    return found


def memory_in_a_process(side: str, where: Path | str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_vectors", "--memory-of", side, str(where)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout)["grown_mib"])


def memory_of(side: str, where: str) -> dict[str, float]:
    """What this process grows by when it opens an index and searches in it."""
    rng = np.random.default_rng(1)
    vectors = unit(rng, 20)
    if side == "pgvector":  # connections and their library are there in any process that has a database
        database = Database.open(where)
        database.is_current()
    before = resident_mib()
    index: PassageIndex | None
    if side == "numpy":
        index = load_index(Path(where))
    else:
        with tempfile.TemporaryDirectory() as folder:
            index = PostgresKnowledge(database, "bench").opened(Path(folder))
    assert index is not None
    for vector in vectors:
        index.search("what about part 7 and word3?", vector, day=DAY)
    grown = resident_mib() - before
    if side == "pgvector":
        database.dispose()
    return {"grown_mib": round(grown, 1)}


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


def hnsw_beside_exact(structured: Floats, url: str) -> dict[str, Any]:
    """What HNSW finds of the nearest, and what it saves."""
    rng = np.random.default_rng(2)
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text(f"CREATE TABLE structured (place int PRIMARY KEY, vector vector({structured.shape[1]}))"))
        driver: Any = conn.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy("COPY structured FROM STDIN") as copy:
            for row, vector in enumerate(structured):
                copy.write_row((row, written(vector)))
        built_s = {"structured": built(conn, "structured"), "large": built(conn, "knowledge_1_vectors")}
        asked = structured[rng.choice(len(structured), min(ASKED, len(structured)), replace=False)]
        nearest = np.argsort(-(asked @ structured.T), axis=1, kind="stable")[:, :NEIGHBOURS]
        found: dict[str, Any] = {"vectors": len(structured), "questions": len(asked), "build_s": built_s}
        for ef in EF_SEARCH:
            conn.execute(text(f"SET LOCAL hnsw.ef_search = {ef}"))
            conn.execute(text("SET LOCAL enable_seqscan = off"))
            shares = [
                len(set(nearest_in(conn, "structured", vector)) & set(exact.tolist())) / NEIGHBOURS
                for vector, exact in zip(asked, nearest, strict=True)
            ]
            found[f"ef_search_{ef}"] = {
                f"recall_at_{NEIGHBOURS}": round(float(np.mean(shares)), 4),
                "large_search": latency(timed(conn, unit(rng, 100))),
            }
        conn.execute(text("SET LOCAL enable_seqscan = on"))
        conn.execute(text("SET LOCAL enable_indexscan = off"))
        found["exact"] = {"large_search": latency(timed(conn, unit(rng, 100)))}
    engine.dispose()
    return found


def built(conn: Connection, table: str) -> float:
    started = time.perf_counter()
    conn.execute(text(f"CREATE INDEX ON {table} USING hnsw (vector vector_ip_ops)"))
    return round(time.perf_counter() - started, 1)


def timed(conn: Connection, vectors: Sequence[Floats] | Floats) -> list[float]:
    seconds = []
    for vector in vectors:
        started = time.perf_counter()
        nearest_in(conn, "knowledge_1_vectors", vector)
        seconds.append(time.perf_counter() - started)
    return seconds


def nearest_in(conn: Connection, table: str, vector: Floats) -> list[int]:
    query = f"SELECT place FROM {table} ORDER BY vector <#> CAST(:vector AS vector) LIMIT {NEIGHBOURS}"
    return [*conn.execute(text(query), {"vector": written(vector)}).scalars()]


def written(vector: Floats) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in vector.tolist()) + "]"


if __name__ == "__main__":
    sys.exit(main())
