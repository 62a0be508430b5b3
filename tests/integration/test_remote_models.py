"""A platform whose models serve elsewhere, and are away meanwhile: messages wait, and none is lost or answered twice.

The replica is the one that Ray Serve places, here in a server of its own: what Ray adds is asked in
tests/contract/test_understander.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from bot.app import load_bot
from bot.settings import load_settings
from models.base import KIND, ModelUnavailable
from models.client import RemoteUnderstander
from models.registry import Registry
from models.runtime import MAX_WAITING
from models.serving import Replica, Unhealthy
from models.wire import read_problem, write_texts
from tests.lab import running
from tests.learning import write_assistant
from tests.server import free_port
from tests.serving_models import SHOP
from tests.tiny_models import ASSISTANT, filed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KEFU_HOME with one version, promoted, and the assistant beside it."""
    folder = tmp_path_factory.mktemp("remote")
    registry = Registry(folder / "models", ASSISTANT)
    registry.promote(KIND, filed(registry, folder / "made"))
    write_assistant(folder / "shop", SHOP)
    return folder


@asynccontextmanager
async def replica_on(port: int, models: Path) -> AsyncIterator[Replica]:
    """One replica behind HTTP, without Ray."""
    replica = Replica(str(models), ASSISTANT, threads=1, replicas=1)
    await replica.reconfigure({})
    app = Starlette(routes=[Route(f"/{ASSISTANT}", replica.__call__, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield replica
    finally:
        server.should_exit = True
        await serving
        await replica.stop()


async def test_messages_wait_while_no_model_answers_and_are_answered_once_when_one_does(
    home: Path, tmp_path: Path
) -> None:
    port = free_port()
    bot = load_bot(home / "shop", load_settings(home=home))
    async with running(tmp_path, bot, models=f"ray://127.0.0.1:{port}") as lab:
        state = await lab.platform.ready()
        assert not state["ready"]
        assert f"127.0.0.1:{port}" in state["model"]["problem"]
        senders = [f"customer-{number}" for number in range(6)]
        waiting = [asyncio.create_task(lab.say("where is my order", sender)) for sender in senders]
        while not lab.platform.understander.status().is_refusing:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        async with replica_on(port, home / "models"):
            assert await asyncio.gather(*waiting) == [["On its way."]] * len(senders)
            assert await lab.say("hello there", senders[0]) == ["Hello!"]
            for sender in senders[1:]:
                events = (await lab.tracker(sender))["events"]
                assert [e["event"] for e in events if e["event"] in {"user", "bot"}] == ["user", "bot"]
            while not (await lab.platform.ready())["ready"]:
                await asyncio.sleep(0.05)


async def test_a_replica_without_a_version_lives_and_says_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    async with replica_on(port, tmp_path) as replica:
        await replica.check_health()
        client = RemoteUnderstander([f"http://127.0.0.1:{port}/{ASSISTANT}"])
        await client.start()
        with pytest.raises(ModelUnavailable, match="kefu train"):
            await client.understand(["hello"])
        assert not client.status().is_ready
        assert "kefu train" in (client.status().problem or "")
        await client.stop()


async def test_a_replica_bounds_its_queue_and_refuses_what_is_no_list_of_texts(home: Path) -> None:
    port = free_port()
    async with replica_on(port, home / "models"), httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}/{ASSISTANT}"
        full = await http.post(url, content=write_texts(["x"] * (MAX_WAITING + 1)))
        assert full.status_code == 503
        assert "wait for the model already" in (read_problem(full.content) or "")
        for body in (b"", b"{}", b'"hello"', b"[1]", b"\xff", b"[" * 100_000):
            answer = await http.post(url, content=body)
            assert (answer.status_code, read_problem(answer.content)) == (400, "the body is no JSON list of texts")


async def is_healthy(replica: Replica) -> bool:
    try:
        await replica.check_health()
    except Unhealthy:
        return False
    return True


async def test_a_replica_whose_reading_does_not_end_is_unhealthy(home: Path) -> None:
    port = free_port()
    async with replica_on(port, home / "models") as replica:
        url = f"http://127.0.0.1:{port}/{ASSISTANT}"
        await replica.check_health()
        async with httpx.AsyncClient(timeout=30) as http:
            endless = asyncio.create_task(http.post(url, content=write_texts(["where is it? " * 100_000])))
            await asyncio.sleep(0.5)  # in its pass by now
            behind = asyncio.create_task(http.post(url, content=write_texts(["hello"])))
            while await is_healthy(replica):  # until the second text waits behind the first
                await asyncio.sleep(0.05)
                assert not endless.done()
            with pytest.raises(Unhealthy, match="none was read"):
                await replica.check_health()
            await asyncio.gather(endless, behind)
            while not await is_healthy(replica):  # once it has got through
                await asyncio.sleep(0.05)
    with pytest.raises(Unhealthy, match="follows CURRENT"):
        await replica.check_health()
