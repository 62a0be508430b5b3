"""The starter's documents on PostgreSQL with pgvector: found and judged as from the folder, by the real commands, on
a machine too that has never read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bot.answers.finder import Finder
from bot.answers.gate import judge
from bot.answers.service import loaded
from bot.storage.database import Database
from bot.storage.passages import PostgresKnowledge
from tests.server import STARTER, Server, kefu, private_home

pytestmark = pytest.mark.postgres

DAY = date(2026, 11, 30)
ASSISTANT = "kefu-starter"
EVERY = 60
"""Of the starter's 8,500 known questions one in so many is asked: by itself, as if it were new, and beside the next."""
EXACT = 1e-4
"""The same float32 vectors on both sides. A mean over the passages is the same to seven digits, and one figure of the
evidence is divided by their spread, about 0.03."""


@pytest.fixture
def shared(pgvector_url: str, home: Path) -> Iterator[PostgresKnowledge]:
    """What `kefu knowledge sync` made of the starter's documents."""
    kefu("knowledge", "sync", "--assistant", str(STARTER), home=home, **on(pgvector_url))
    made = PostgresKnowledge(Database.open(pgvector_url), ASSISTANT)
    yield made
    made.close()


def on(url: str) -> dict[str, str]:
    return {"KEFU_DATABASE_URL": url, "KEFU_KNOWLEDGE_STORE": "postgresql"}


def test_the_starter_s_questions_find_the_same_and_are_judged_alike(shared: PostgresKnowledge, home: Path) -> None:
    store = home / "knowledge" / ASSISTANT
    here = loaded(store, 1)
    assert here is not None
    index = shared.opened(store)
    assert index is not None
    there = Finder(index=index, embedder=here.embedder)
    known = here.index.known
    for place in range(0, len(known.questions) - 1, EVERY):
        question, vector = known.questions[place], known.vectors[place]
        between = vector + known.vectors[place + 1]
        between /= np.linalg.norm(between)  # what nobody asked
        for asked, itself in ((vector, False), (vector, True), (between, True)):
            options = {"day": DAY, "vector": asked, "but_itself": itself, "language": None if itself else "en"}
            expected, found = (finder.find(question, **options) for finder in (here, there))
            assert [hit.passage for hit in found.hits] == [hit.passage for hit in expected.hits], question
            assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in expected.hits], abs=EXACT)
            assert found.evidence == pytest.approx(expected.evidence, abs=EXACT), question
            (sure, gate), (as_sure, same) = judge(there, found), judge(here, expected)
            assert gate == same
            assert sure == pytest.approx(as_sure, abs=0.01)


def test_a_machine_that_has_read_nothing_answers_from_what_another_read(
    shared: PostgresKnowledge, pgvector_url: str, starter_home: Path, tmp_path: Path
) -> None:
    elsewhere = private_home(starter_home, tmp_path / "elsewhere")
    shutil.rmtree(elsewhere / "knowledge")
    question = "Can you deliver to a Packstation?"
    told = kefu("knowledge", "search", question, "--assistant", str(STARTER), home=elsewhere, **on(pgvector_url)).stdout
    assert "packstation" in told.casefold()
    assert not list((elsewhere / "knowledge" / ASSISTANT).glob("index-*"))
    server = Server(home=elsewhere, env=on(pgvector_url)).start()
    try:
        said = " ".join(str(message.get("text")) for message in server.say(question))
        assert "packstation" in said.casefold()
        assert "help page" in said
    finally:
        server.stop()
    assert not list((elsewhere / "knowledge" / ASSISTANT).glob("index-*"))


def test_without_a_postgresql_it_says_what_to_do(home: Path) -> None:
    store = {"KEFU_KNOWLEDGE_STORE": "postgresql"}
    done = kefu("knowledge", "sync", "--assistant", str(STARTER), home=home, check=False, **store)
    assert done.returncode != 0
    assert "the database is SQLite" in done.stderr
    assert "Traceback" not in done.stderr
