"""What a connector may rely on from the file store: one suite in memory, and over each database and kind of area."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.errors import ConfigurationError
from bot.files import FileArea, Files
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.ports import SqlPorts
from bot.storage.tables import conversations, files
from connectors.base import BadRequest, InboundMessage
from connectors.file_kinds import UnwantedFile
from connectors.files import Correspondent, FileRules, FileStore, FileTooLarge, StoreFull, TooOften
from connectors.memory import MemoryFiles
from tests.contract.conftest import BOTH, migrated_url
from tests.sample_files import BY_KIND, PROGRAM, png

ANN = Correspondent(channel="web", customer="ann", sender_id="web:ann")
BOB = Correspondent(channel="web", customer="bob", sender_id="web:bob")
RULES = FileRules(max_bytes=10_000, total_bytes=40_000, max_per_hour=3, link_for_s=60, kinds=("png", "txt"))
SECRET = b"the secret of this suite"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, 0, 0, 500_000, UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


AREAS = {
    "folder": "{}/files",
    "fsspec": "memory:/{}/files",  # knows no folders, as S3
    "fsspec with folders": "dir::file://{}/files",  # refuses a path whose folder is not there, as SFTP
}


@pytest.fixture(params=list(AREAS))
def area(request: pytest.FixtureRequest, tmp_path: Path) -> FileArea:
    """A folder, and two of fsspec's own file systems as peers for what lies behind a URL."""
    return FileArea(AREAS[request.param].format(tmp_path))


def kept(db: Database, area: FileArea, clock: Clock, **changes: Any) -> Files:
    options = {"assistant_id": "shop", "secret": SECRET, "rules": RULES, "keep_days": 90, **changes}
    return Files(db=db, area=area, clock=clock, **options)


@pytest.fixture(params=["memory", *BOTH])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[FileStore]:
    if request.param == "memory":
        yield MemoryFiles(RULES, lambda: clock().timestamp())
        return
    database = Database.open(migrated_url(request, request.param, tmp_path))
    yield kept(database, FileArea(str(tmp_path / "files")), clock)
    await database.close()


# ---- every store ----


async def test_what_was_put_is_there_byte_for_byte(store: FileStore) -> None:
    file = await store.put(ANN, "a photo.png", png(5_000))
    assert (file.name, file.media_type, file.size) == ("a photo.png", "image/png", 5_000)
    assert await store.get(file.id) == (file, png(5_000))


async def test_a_file_belongs_to_its_conversation_alone(store: FileStore) -> None:
    anns, bobs = await store.put(ANN, "a.png", png()), await store.put(BOB, "b.png", png())
    assert await store.find("web:ann", [anns.id, bobs.id, "x" * 22]) == {anns.id: anns}
    assert await store.find("web:ann", []) == {}
    assert await store.find("web:nobody", [anns.id]) == {}


async def test_nothing_is_found_under_an_id_that_is_none(store: FileStore) -> None:
    await store.put(ANN, "a.png", png())
    for id_ in ("x" * 22, "", "../secret.key", "' OR 1=1"):
        assert await store.get(id_) is None


async def test_a_conversation_of_another_customer_takes_no_file(store: FileStore) -> None:
    await store.put(ANN, "a.png", png())
    with pytest.raises(BadRequest, match="another customer"):
        await store.put(Correspondent(channel="web", customer="eve", sender_id="web:ann"), "a.png", png())


async def test_a_file_brings_no_conversation_back_that_was_erased(store: FileStore) -> None:
    with pytest.raises(BadRequest):
        await store.put(replace(ANN, must_exist=True), "a.png", png())
    file = await store.put(ANN, "a.png", png())
    assert await store.find("web:ann", [file.id])
    await store.put(replace(ANN, must_exist=True), "b.png", png())


async def test_sizes_at_the_limit(store: FileStore) -> None:
    await store.put(ANN, "a.png", png(10_000))
    with pytest.raises(FileTooLarge, match="10000 bytes"):
        await store.put(ANN, "a.png", png(10_001))
    with pytest.raises(BadRequest, match="empty"):
        await store.put(ANN, "a.txt", b"")


async def test_only_the_listed_kinds_are_taken(store: FileStore) -> None:
    for content in (PROGRAM, BY_KIND["pdf"]):
        with pytest.raises(UnwantedFile, match="png, txt"):
            await store.put(ANN, "a.png", content)


async def test_so_many_files_an_hour_and_conversation(store: FileStore, clock: Clock) -> None:
    for _ in range(3):
        await store.admit("web:ann")
        await store.put(ANN, "a.png", png())
    with pytest.raises(TooOften, match="3 files an hour"):
        await store.admit("web:ann")
    await store.admit("web:bob")
    clock.pass_(minutes=61)
    await store.admit("web:ann")


async def test_all_customers_together_have_so_much_room(store: FileStore) -> None:
    for owner in (ANN, BOB, ANN):
        await store.put(owner, "a.png", png(10_000))
    await store.put(BOB, "b.png", png(9_900))
    await store.admit("web:bob")
    with pytest.raises(StoreFull):
        await store.put(BOB, "c.png", png(101))
    await store.put(ANN, "d.png", png(100))
    with pytest.raises(StoreFull):
        await store.admit("web:eve")
    assert StoreFull.http_status == 507


async def test_a_link_opens_one_file_until_it_expires(store: FileStore, clock: Clock) -> None:
    file, other = await store.put(ANN, "a b/ü.png", png()), await store.put(ANN, "b.png", png())
    link = urlsplit(store.link(file))
    assert link.path == f"/files/{file.id}/%C3%BC.png"
    (expires,), (signature,) = (parse_qs(link.query)[name] for name in ("expires", "signature"))
    assert store.opens(file.id, expires, signature)
    assert not store.opens(other.id, expires, signature)
    for forged in (
        str(int(expires) + 1),
        f"0{expires}",
        f" {expires}",
        f"+{expires}",
        f"{expires}.0",
        "",
        "nan",
        "９" * 10,
    ):
        assert not store.opens(file.id, forged, signature)
    for forged in ("", signature[:-1], f"{signature}=", signature.swapcase(), "é" * 43, "\ud800"):
        assert not store.opens(file.id, expires, forged)
    clock.pass_(seconds=59)
    assert store.opens(file.id, expires, signature)
    clock.pass_(seconds=1)
    assert not store.opens(file.id, expires, signature)


# ---- the real one, over both areas and both databases ----


async def test_another_secret_s_links_open_nothing(database: Database, area: FileArea, clock: Clock) -> None:
    ours, theirs = kept(database, area, clock), kept(database, area, clock, secret=b"another")
    file = await ours.put(ANN, "a.png", png())
    query = parse_qs(urlsplit(theirs.link(file)).query)
    assert theirs.opens(file.id, query["expires"][0], query["signature"][0])
    assert not ours.opens(file.id, query["expires"][0], query["signature"][0])


async def test_another_assistant_has_no_part_in_it(database: Database, area: FileArea, clock: Clock) -> None:
    ours, theirs = kept(database, area, clock), kept(database, area, clock, assistant_id="bank")
    file = await ours.put(ANN, "a.png", png())
    assert await theirs.get(file.id) is None
    assert await theirs.find("web:ann", [file.id]) == {}
    assert await theirs.tidy(clock.now + timedelta(days=400)) == 0
    assert await ours.get(file.id) is not None


async def test_a_file_before_the_first_message_is_in_that_conversation(
    database: Database, area: FileArea, clock: Clock
) -> None:
    store = kept(database, area, clock)
    file = await store.put(ANN, "a.png", png())
    message = InboundMessage(
        channel="web",
        account="",
        external_id="m1",
        customer="ann",
        sender_id="web:ann",
        text="look",
        received_at=clock.now,
    )
    (receipt,) = await SqlPorts(database, Hub(), "shop").receive([message])
    assert receipt.seq == 1
    rows = await database.read(lambda c: c.execute(files.select().join(conversations)).all())
    assert [(row.id, row.conversation_id) for row in rows] == [(file.id, receipt.conversation_id)]
    owner = await database.read(lambda c: c.execute(conversations.select()).one())
    assert rows[0].customer_id == owner.customer_id


async def test_uploads_that_race_for_a_new_conversation_share_it(
    database: Database, area: FileArea, clock: Clock
) -> None:
    store = kept(database, area, clock)
    put = await asyncio.gather(*(store.put(ANN, f"{n}.png", png()) for n in range(4)))
    assert len(await store.find("web:ann", [file.id for file in put])) == 4


async def test_old_files_are_deleted_and_their_rows_say_so(database: Database, area: FileArea, clock: Clock) -> None:
    store = kept(database, area, clock)
    old = await store.put(ANN, "old.png", png())
    clock.pass_(days=89)
    young = await store.put(ANN, "young.png", png())
    assert await store.tidy(clock.now) == 0
    clock.pass_(days=2)
    assert await store.tidy(clock.now) == 1
    assert await store.get(old.id) is None
    assert await store.find("web:ann", [old.id, young.id]) == {young.id: young}
    with pytest.raises(FileNotFoundError):
        area.read("shop", old.id)
    rows = await database.read(lambda c: {row.name: row.deleted_at for row in c.execute(files.select())})
    assert rows == {"old.png": clock.now, "young.png": None}
    assert await store.tidy(clock.now) == 0


async def test_deleted_files_make_room(database: Database, area: FileArea, clock: Clock) -> None:
    store = kept(database, area, clock)
    for _ in range(4):
        await store.put(ANN, "a.png", png(10_000))
    clock.pass_(days=91)
    with pytest.raises(StoreFull):
        await store.put(BOB, "b.png", png())
    assert await store.tidy(clock.now) == 4
    await store.put(BOB, "b.png", png())


class Failing(FileArea):
    """Writes or removes nothing, as a store that is away."""

    def write(self, assistant_id: str, file_id: str, content: bytes) -> None:
        super().write(assistant_id, file_id, content[:3])
        raise OSError("the disk is full")

    def remove(self, assistant_id: str, file_id: str) -> None:
        raise PermissionError("not yours")


async def test_a_write_that_failed_is_never_found_and_its_rest_is_removed_later(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    place = str(tmp_path / "files")
    with pytest.raises(OSError, match="full"):
        await kept(database, Failing(place), clock).put(ANN, "a.png", png())
    store = kept(database, FileArea(place), clock)
    (row,) = await database.read(lambda c: c.execute(files.select()).all())
    assert await store.get(row.id) is None
    assert await store.find("web:ann", [row.id]) == {}
    assert await store.tidy(clock.now) == 0  # its writer may still be at it
    clock.pass_(hours=2)
    assert await store.tidy(clock.now) == 1
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_what_cannot_be_removed_stays_to_be_removed(database: Database, tmp_path: Path, clock: Clock) -> None:
    place = str(tmp_path / "files")
    store = kept(database, FileArea(place), clock)
    await store.put(ANN, "a.png", png())
    clock.pass_(days=91)
    assert await kept(database, Failing(place), clock).tidy(clock.now) == 0
    assert await store.tidy(clock.now) == 1


async def test_erasing_a_customer_leaves_nothing_of_their_files(
    database: Database, area: FileArea, clock: Clock
) -> None:
    store = kept(database, area, clock)
    anns, bobs = await store.put(ANN, "a.png", png()), await store.put(BOB, "b.png", png())
    customer = await database.read(lambda c: c.execute(files.select().where(files.c.id == anns.id)).one().customer_id)
    assert await store.erase(customer) == 1
    with pytest.raises(FileNotFoundError):
        area.read("shop", anns.id)
    assert [row.id for row in await database.read(lambda c: c.execute(files.select()).all())] == [bobs.id]
    assert await store.erase(customer) == 0
    assert await store.get(bobs.id) is not None


async def test_a_content_that_somebody_took_away_is_no_file(database: Database, area: FileArea, clock: Clock) -> None:
    store = kept(database, area, clock)
    file = await store.put(ANN, "a.png", png())
    area.remove("shop", file.id)
    assert await store.get(file.id) is None


def test_in_a_folder_nothing_typed_is_part_of_a_path_and_nobody_else_reads(tmp_path: Path) -> None:
    FileArea(str(tmp_path / "files")).write("shop", "abcdefghij", b"content")
    (file,) = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert file == tmp_path / "files" / "shop" / "ab" / "abcdefghij"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["nonsense://x", "s3://user:hunter2@bucket"])
def test_a_place_that_cannot_be_used_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="KEFU_FILES_URL") as caught:
        FileArea(url)
    assert "hunter2" not in str(caught.value)
