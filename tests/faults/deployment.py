"""What the fault harness strikes: processes that can be killed, stopped and started, and their database.

A deployment is known by its web addresses and process names alone; what runs behind them is its own business.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bot.storage import outbox
from bot.storage.database import Database
from tests.faults.generators import heard_in
from tests.postgres import PostgresServer, find_binaries
from tests.server import Server, kefu

GATE = Path(__file__).parent / "gate"
GATE_ID = "kefu-gate"
START_TRIES = 10


@dataclass(kw_only=True)
class Deployment:
    """Processes by name. `webs` name those that the world talks to; `postgres` can be restarted where there is one."""

    servers: dict[str, Server]
    webs: tuple[str, ...]
    channels: frozenset[str]
    postgres: PostgresServer | None = None
    database_url: str | None = None

    @property
    def urls(self) -> list[str]:
        return [self.servers[name].url for name in self.webs]

    async def start(self, *names: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(_supervised, self.servers[name]) for name in names or self.servers))

    async def kill(self, *names: str) -> None:
        """SIGKILL, and the same again in place of the old process."""
        await asyncio.gather(*(asyncio.to_thread(self.servers[name].kill) for name in names))

    async def deploy(self, name: str) -> None:
        """SIGTERM; the process gets time to drain."""
        await asyncio.to_thread(self.servers[name].stop, 60)

    async def pause(self, name: str, for_s: float) -> None:
        """SIGSTOP, as a machine that swaps, and SIGCONT."""
        process = self.servers[name].process
        assert process is not None
        os.killpg(process.pid, signal.SIGSTOP)
        await asyncio.sleep(for_s)
        os.killpg(process.pid, signal.SIGCONT)

    async def unknown(self) -> tuple[set[str], int]:
        """Messages whose replies an operator is shown as "may have arrived"; and how many replies were given up."""
        if self.database_url is None:
            return set(), 0
        database = Database.open(self.database_url)
        try:
            rows = await database.read(lambda conn: outbox.undelivered(conn, GATE_ID))
        finally:
            database.dispose()
        texts = [row.body.get("text", "") for row in rows if row.state == "unknown"]
        shown = {message_id for text in texts for message_id in heard_in(text)}
        return shown, sum(row.state == "dead" for row in rows)

    def close(self) -> None:
        for server in self.servers.values():
            if server.process is not None and server.process.poll() is None:
                os.killpg(server.process.pid, signal.SIGCONT)
                server.kill()


def _supervised(server: Server) -> None:
    """Start until it runs, as `restart: unless-stopped` does: a process that finds no database says so and ends."""
    for _ in range(START_TRIES - 1):
        try:
            server.start(180)
        except AssertionError:
            continue
        return
    server.start(180)


def _assistant(folder: Path, credentials: Mapping[str, Any]) -> Path:
    """The echoing assistant, with the channels' credentials."""
    made = folder / "assistant"
    shutil.copytree(GATE, made)
    with (made / "credentials.yml").open("w") as file:
        YAML(typ="safe").dump({"rest": None, **credentials}, file)
    return made


def _environment(folder: Path, assistant: Path) -> dict[str, str]:
    """A trained home; the assistant's orders (none)."""
    (folder / "orders").mkdir()
    kefu("train", str(assistant), home=folder / "home", timeout=300)
    return {"KEFU_GATE": str(folder / "orders"), "KEFU_SECRET_KEY": "k" * 64, "OMP_NUM_THREADS": "1"}


@contextmanager
def one_process(folder: Path, credentials: Mapping[str, Any]) -> Iterator[Deployment]:
    """`kefu serve` on SQLite."""
    assistant = _assistant(folder, credentials)
    home = folder / "home"
    server = Server(home=home, assistant=assistant, env=_environment(folder, assistant))
    deployment = Deployment(
        servers={"serve": server},
        webs=("serve",),
        channels=frozenset({"slack", "wechat", "web"}),
        database_url=f"sqlite:///{home / 'kefu.db'}",
    )
    try:
        yield deployment
    finally:
        deployment.close()


@contextmanager
def on_postgres(folder: Path, credentials: Mapping[str, Any]) -> Iterator[Deployment]:
    """Two `kefu web`, two `kefu worker`, one PostgreSQL."""
    assistant = _assistant(folder, credentials)
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("no PostgreSQL: install the package postgresql")
    postgres = PostgresServer(binaries)
    postgres.start()
    env = _environment(folder, assistant) | {"KEFU_DATABASE_URL": postgres.url()}
    kefu("db", "upgrade", home=folder / "home", timeout=60, check=True, **env)
    deployment = Deployment(
        servers={
            f"{command}-{number}": Server(home=folder / "home", assistant=assistant, command=command, env=env)
            for command in ("web", "worker")
            for number in (1, 2)
        },
        webs=("web-1", "web-2"),
        channels=frozenset({"slack", "wechat", "web"}),
        postgres=postgres,
        database_url=postgres.url(),
    )
    try:
        yield deployment
    finally:
        deployment.close()
        postgres.stop()


@dataclass
class BoltServer(Server):
    """slack_bolt as its documentation starts it, answering what the echoing assistant answers."""

    slack_api: str = ""

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.bolt_server", self.slack_api, str(self.port)]


@contextmanager
def slack_bolt(folder: Path, slack_api: str) -> Iterator[Deployment]:
    """The control: one process of plain slack_bolt behind the same generator."""
    server = BoltServer(home=folder, slack_api=slack_api)
    deployment = Deployment(servers={"serve": server}, webs=("serve",), channels=frozenset({"slack"}))
    try:
        yield deployment
    finally:
        deployment.close()
