"""One contract for the index in memory and the one in PostgreSQL; and what sharing promises: only what changed travels,
who serves follows, and nothing half-made is ever seen."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy import text as sql

from bot.answers.documents import of_response
from bot.answers.finder import Finder
from bot.answers.index_files import JUDGE, current, load_index, only_writer, sync, write_name
from bot.answers.knowledge import Asked, Gate, KnowledgeIndex, PassageIndex
from bot.answers.service import Knowledge
from bot.answers.sharing import TUNED
from bot.assistant.brand import DEFAULT_BRAND
from bot.errors import ConfigurationError, SchemaOutdated
from bot.storage.database import Database
from bot.storage.passages import PostgresKnowledge
from models.base import ArtifactInvalid
from tests.bag_of_words import BagOfWords
from tests.postgres import PostgresServer, new_postgres

pytestmark = pytest.mark.postgres

SHOP = "shop"
DAY = date(2026, 11, 30)
ALWAYS = Gate(weights=(0.0,) * 15, bias=9.0, threshold=0.5)
DOCUMENTS = {
    "en/returns.md": "# Returns\n\n## How long\nYou can send a lamp back within 30 days.\n\n"
    "## Postage\nThe label is free in Germany.",
    "en/winter.md": "---\nvalid_until: 2026-11-29\n---\n# Christmas parcels\n\nOrder a lamp by 18 December.",
    "en/wool.md": "# Wool\n\nWash wool blankets by hand.",
    "zh/wool.md": "# Wool\n\nWash wool blankets by hand.",
    "zh/fapiao.md": "# 发票\n\n## 电子发票\n签收后在订单页点申请发票，两天之内发到邮箱。",
}
ASKED = [
    Asked(question="how do I get a receipt?", sources=("zh/fapiao.md#电子发票",), language="en"),
    Asked(question="is there time to send a lamp back?", sources=("en/returns.md#how-long",), language="en"),
    Asked(question="who washes wool?", sources=("en/wool.md", "zh/wool.md"), language="en"),
    Asked(question="do you sell candles?", language="en"),
    Asked(question="发票多久发到邮箱", sources=("zh/fapiao.md",), language="zh"),
]
RESPONSE = of_response("shipping", "Delivery costs €4.90 in Germany.", "en")
EXACT = 1e-5
"""Both compare the same float32 vectors; only the order in which products are added differs."""


class Machine:
    """A folder, as each machine has its own, and the index that all share."""

    def __init__(self, folder: Path, url: str, embedder: BagOfWords | None = None) -> None:
        self.folder, self.store = folder, folder / "store"
        self.embedder = embedder or BagOfWords()
        self.shared = PostgresKnowledge(Database.open(url), SHOP)

    def sync(self, documents: dict[str, str] = DOCUMENTS, asked: Sequence[Asked] = ASKED) -> None:
        """As `kefu knowledge sync`, without a model."""
        for name, text in documents.items():
            path = self.folder / "docs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in (self.folder / "docs").rglob("*.md"):
            if path.relative_to(self.folder / "docs").as_posix() not in documents:
                path.unlink()
        with only_writer(self.store), self.shared.only_writer():
            self.shared.pull(self.store)
            encoder = self.store / f"encoder-{self.embedder.name}"
            encoder.mkdir(exist_ok=True)
            (encoder / "encoder.onnx").write_bytes(b"weights" * 600_000)  # two pieces
            (encoder / "tokenizer.json").write_text("{}", encoding="utf-8")
            sync(
                self.folder / "docs", self.store, self.embedder, lambda _: {"other": ALWAYS, "han": ALWAYS}, [RESPONSE],
                asked,
            )  # fmt: skip
            self.shared.push(self.store)

    def whole(self) -> KnowledgeIndex:
        index = load_index(self.store)
        assert index is not None
        return index

    def opened(self) -> PassageIndex:
        index = self.shared.opened(self.store)
        assert index is not None
        return index

    def knowledge(self) -> Knowledge:
        """What answers on a server of this machine."""
        return Knowledge(self.store, DEFAULT_BRAND, embedder=self.embedder, today=lambda: DAY, shared=self.shared)


@pytest.fixture
def machine(pgvector_url: str, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(name: str, **more: Any) -> Machine:
        made.append(Machine(tmp_path / name, pgvector_url, **more))
        return made[-1]

    yield make
    for each in made:
        each.shared.close()


def rows(url: str, query: str) -> list[Any]:
    engine = create_engine(url)
    with engine.begin() as conn:
        result = conn.execute(sql(query))
        found = result.all() if result.returns_rows else []
    engine.dispose()
    return [*found]


QUESTIONS = [
    "how long can I send a lamp back?",
    "is there time to send a lamp back?",
    "how could I get a receipt please?",
    "wash wool by hand?",
    "do you sell candles and candle sticks?",
    "what does delivery cost in Germany?",
    "怎么申请电子发票",
    "发票多久发到邮箱",
    "xyzzy",
    "the of and",
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"language": "en"},
    {"language": "zh", "limit": 2},
    {"without": "en/returns.md"},
    {"response_of": "shipping"},
    {"but_itself": True, "language": "en"},
    {"day": date(2026, 11, 29), "limit": 9},
]


def test_both_find_the_same_and_are_as_sure(machine: Callable[..., Machine]) -> None:
    here = machine("a")
    here.sync()
    whole, shared = here.whole(), here.opened()
    for question, options in itertools.product(QUESTIONS, OPTIONS):
        given = {"day": DAY, **options}
        expected = Finder(index=whole, embedder=here.embedder).find(question, **given)
        found = Finder(index=shared, embedder=here.embedder).find(question, **given)
        assert [hit.passage for hit in found.hits] == [hit.passage for hit in expected.hits], (question, options)
        for hit, other in zip(found.hits, expected.hits, strict=True):
            figures = (hit.score, hit.cosine, hit.coverage, hit.asked)
            assert figures == pytest.approx((other.score, other.cosine, other.coverage, other.asked), abs=EXACT)
        assert found.evidence == pytest.approx(expected.evidence, abs=EXACT), (question, options)


def test_both_say_the_same_of_passages_and_known_questions(machine: Callable[..., Machine]) -> None:
    here = machine("a")
    here.sync()
    whole, shared = here.whole(), here.opened()
    assert (shared.embedder, shared.judge, shared.gates, shared.size) == (
        whole.embedder, whole.judge, whole.gates, len(whole.passages),
    )  # fmt: skip
    for passage in whole.passages:
        assert shared.find(passage.id) == passage
        assert shared.beside(passage) == whole.beside(passage)
    assert shared.find("no such id") is None
    known = shared.known_vector(ASKED[0].question)
    assert known is not None
    assert (known == whole.known_vector(ASKED[0].question)).all()
    assert shared.known_vector("never asked") is None


def test_a_server_elsewhere_follows_at_its_next_message(machine: Callable[..., Machine]) -> None:
    office, server = machine("office"), machine("server")
    serving = server.knowledge()
    question = "how long can I send a lamp back?"
    assert serving.answer(question) is None  # nothing was read yet
    office.sync()
    answer = serving.answer(question)
    assert answer is not None
    assert "30 days" in answer.text
    changed = DOCUMENTS | {"en/returns.md": DOCUMENTS["en/returns.md"].replace("30 days", "60 days")}
    office.sync(changed)
    answer = serving.answer(question)
    assert answer is not None
    assert "60 days" in answer.text


def test_the_encoder_reaches_a_server_elsewhere_and_nothing_else_does(machine: Callable[..., Machine]) -> None:
    office, server = machine("office"), machine("server")
    office.sync()
    server.opened()
    assert [path.name for path in server.store.iterdir()] == ["encoder-bag"]
    for name in ("encoder.onnx", "tokenizer.json"):
        copied, original = (each.store / "encoder-bag" / name for each in (server, office))
        assert copied.read_bytes() == original.read_bytes()


def test_who_syncs_elsewhere_embeds_only_what_changed(machine: Callable[..., Machine]) -> None:
    first, second = machine("first"), machine("second")
    first.sync()
    changed = DOCUMENTS | {"en/returns.md": DOCUMENTS["en/returns.md"].replace("30 days", "60 days")}
    second.sync(changed)
    assert len(second.embedder.embedded) == 1
    assert "60 days" in second.embedder.embedded[0]
    first.sync(changed)
    assert current(first.store) == current(second.store) == first.shared.current()
    assert (first.whole().vectors == second.whole().vectors).all()
    assert first.whole().known.rows == second.whole().known.rows


def test_what_is_there_already_does_not_travel_again(machine: Callable[..., Machine], pgvector_url: str) -> None:
    """A vector that was altered there alone is in the next index too, so it was copied there."""
    here = machine("a")
    here.sync()
    altered = "SELECT place FROM knowledge_1_passages WHERE source = 'en/wool.md'"
    rows(pgvector_url, f"UPDATE knowledge_1_vectors SET vector = vector - vector WHERE place IN ({altered})")
    rows(pgvector_url, "UPDATE knowledge_1_questions SET vector = vector - vector WHERE question = 'who washes wool?'")
    here.sync(DOCUMENTS | {"en/a.md": "# Candles\n\nWe now sell candles."}, [*ASKED, Asked(question="new?")])
    index = here.opened()
    question, vector = "wash wool blankets", here.embedder.questions(["wash wool blankets"])[0]
    cosines = {hit.passage.source: hit.cosine for hit in index.search(question, vector, day=DAY, limit=9).hits}
    assert cosines["en/wool.md"] == 0.0
    assert cosines["zh/wool.md"] > 0.3
    known = index.known_vector("who washes wool?")
    assert known is not None
    assert not known.any()
    assert index.search("candles", here.embedder.questions(["candles"])[0], day=DAY).hits[0].passage.source == "en/a.md"


def test_old_indexes_and_their_encoders_go(machine: Callable[..., Machine], pgvector_url: str) -> None:
    old = machine("a", embedder=BagOfWords("old"))
    old.sync()
    here = machine("b")
    for number in range(4):
        here.sync({"en/a.md": f"# A\n\nVersion {number} of this text."})
    tables = rows(pgvector_url, "SELECT tablename FROM pg_tables WHERE tablename ~ '^knowledge_[0-9]' ORDER BY 1")
    assert {int(name.split("_")[1]) for (name,) in tables} == {3, 4, 5}
    assert len(tables) == 15
    assert rows(pgvector_url, "SELECT id FROM knowledge_indexes ORDER BY id") == [(3,), (4,), (5,)]
    assert rows(pgvector_url, "SELECT DISTINCT folder FROM knowledge_files") == [("encoder-bag",)]


def test_an_index_that_could_not_be_shared_leaves_the_old_one(
    machine: Callable[..., Machine], pgvector_url: str
) -> None:
    here = machine("a")
    here.sync()
    before = here.shared.current()
    rows(pgvector_url, "CREATE TABLE knowledge_2_owners (in_the_way int)")
    with pytest.raises(Exception, match="knowledge_2_owners"):
        here.sync({"en/a.md": "# A\n\nAnother text."})
    assert here.shared.current() == before
    assert rows(pgvector_url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'knowledge_2_%'") == [(1,)]
    answer = here.knowledge().answer("how long can I send a lamp back?")
    assert answer is not None
    assert "30 days" in answer.text
    here.sync({"en/a.md": "# A\n\nAnother text."})  # the next try is another number
    assert [passage.source for passage in here.whole().passages if passage.response is None] == ["en/a.md"]
    assert here.shared.current() == current(here.store) != before


def test_how_the_next_index_is_made_is_shared_too(machine: Callable[..., Machine]) -> None:
    first, second = machine("first"), machine("second")
    first.store.mkdir(parents=True)
    write_name(first.store / TUNED, "a base and what came of it")  # tuned before the index was shared
    first.sync()
    first.shared.keep(first.store, JUDGE, "abc")
    assert (first.store / JUDGE).read_text(encoding="utf-8") == "abc\n"
    second.sync()
    assert (second.store / TUNED).read_text(encoding="utf-8") == "a base and what came of it\n"
    assert (second.store / JUDGE).read_text(encoding="utf-8") == "abc\n"


def test_who_writes_beside_another_waits(machine: Callable[..., Machine], pgvector_url: str) -> None:
    first, second = machine("first"), machine("second")
    began = threading.Event()

    def write() -> None:
        with second.shared.only_writer():
            began.set()

    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    other = threading.Thread(target=write)
    with first.shared.only_writer():
        other.start()
        while rows(pgvector_url, waiting) != [(1,)]:
            assert not began.is_set()
        assert not began.is_set()
    other.join(30)
    assert began.is_set()


def test_an_index_of_another_version_says_what_to_do(machine: Callable[..., Machine], pgvector_url: str) -> None:
    here, elsewhere = machine("a"), machine("b")
    here.sync()
    serving = here.knowledge()
    question = "how long can I send a lamp back?"
    assert serving.answer(question) is not None
    other = "UPDATE knowledge_indexes SET name = 'index-other', about = jsonb_set(about, '{format}', '1')"
    rows(pgvector_url, other)
    rows(pgvector_url, "UPDATE knowledge_marks SET value = 'index-other' WHERE key = 'CURRENT'")
    with pytest.raises(ArtifactInvalid, match="kefu knowledge sync"):
        elsewhere.shared.opened(elsewhere.store)
    assert serving.answer(question) is not None  # with what it had
    elsewhere.sync()
    assert elsewhere.knowledge().answer(question) is not None


def test_an_index_whose_encoder_is_nowhere_says_what_to_do(machine: Callable[..., Machine], pgvector_url: str) -> None:
    here, elsewhere = machine("a"), machine("b")
    here.sync()
    rows(pgvector_url, "DELETE FROM knowledge_files")
    with pytest.raises(ArtifactInvalid, match="kefu knowledge sync"):
        elsewhere.shared.opened(elsewhere.store)
    here.sync()  # nothing changed in the documents; what is missing there goes there
    elsewhere.opened()


def test_two_assistants_share_one_database(pgvector_url: str, tmp_path: Path) -> None:
    here = Machine(tmp_path / "a", pgvector_url)
    here.sync()
    other = PostgresKnowledge(Database.open(pgvector_url), "another shop")
    assert other.current() is None
    assert other.opened(tmp_path / "other") is None
    with only_writer(here.store), other.only_writer():
        other.push(here.store)
    assert other.current() == here.shared.current()
    for shared in (here.shared, other):
        assert shared.opened(here.store) is not None
        shared.close()


def test_sqlite_is_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the database is SQLite .*let KEFU_DATABASE_URL name a PostgreSQL"):
        PostgresKnowledge(Database.open(f"sqlite:///{tmp_path / 'kefu.db'}"), SHOP)


def refused(url: str, folder: Path) -> str:
    """What it says when the first one to write begins."""
    shared = PostgresKnowledge(Database.open(url), SHOP)
    try:
        with pytest.raises((ConfigurationError, SchemaOutdated)) as told, shared.only_writer():
            raise AssertionError("it may not write")
        return str(told.value)
    finally:
        shared.close()


def test_a_postgresql_without_pgvector_says_where_to_get_it(migrated_postgres: str, tmp_path: Path) -> None:
    told = refused(migrated_postgres, tmp_path)
    assert "has no pgvector; install it there" in told
    assert "KEFU_KNOWLEDGE_STORE=postgresql" in told


def test_who_may_not_make_the_extension_is_told_who_may(pgvector_server: PostgresServer, tmp_path: Path) -> None:
    url = new_postgres(pgvector_server)
    rows(url, "DO $$ BEGIN CREATE ROLE shop LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    rows(url, f"ALTER DATABASE {make_url(url).database} OWNER TO shop")
    rows(url, "ALTER SCHEMA public OWNER TO shop")
    own = url.replace("//kefu@", "//shop@")
    database = Database.open(own)
    assert "kefu db upgrade" in refused(own, tmp_path)
    database.upgrade()
    assert "shop may not make an extension" in (told := refused(own, tmp_path))
    assert "CREATE EXTENSION vector" in told
    rows(url, "CREATE EXTENSION vector")  # its administrator did
    here = Machine(tmp_path / "a", own)
    here.sync()
    assert here.opened().size == len(here.whole().passages)
    here.shared.close()
    database.dispose()
