"""A real `kefu serve` process on a free port, for tests that look at it from outside."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from sqlalchemy import Select, create_engine

from bot.settings import load_settings
from bot.storage.database import Database

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[1]
STARTER = REPOSITORY / "bot" / "starter"
TEST_HOME = Path(os.environ.get("KEFU_TEST_HOME", REPOSITORY / ".kefu" / "test"))
"""Where trained models and fetched bases are kept between runs."""


def database_of(home: Path) -> Database:
    """The database of a KEFU_HOME, migrated; it is the caller's to close."""
    database = Database.open(load_settings(home=home).database)
    database.upgrade()
    return database


def stored(home: Path, column: Select[tuple[T]]) -> list[T]:
    """What a query of one column finds in the database of a KEFU_HOME."""
    engine = create_engine(load_settings(home=home).database)
    with engine.connect() as conn:
        found = [*conn.execute(column).scalars()]
    engine.dispose()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_home(trained: Path, folder: Path) -> Path:
    """A KEFU_HOME of one test: the trained versions and what was read of the documents (hard links: they never change),
    and an empty database."""
    home = folder / "home"
    for source in [*(trained / "models").rglob("*"), *(trained / "knowledge").rglob("*")]:
        target = home / source.relative_to(trained)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source.name in {"CURRENT", "history.jsonl"}:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
    if (trained / "bases").exists():
        (home / "bases").symlink_to((trained / "bases").absolute())
    return home


def kefu(
    *args: str, home: Path, check: bool = True, timeout: float = 600, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one `kefu` command; its output is in the error when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bot.cli", *args],
        env={**os.environ, "KEFU_HOME": str(home), **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"kefu {' '.join(args)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@dataclass
class Server:
    """Start, kill and restart one serving process over the same KEFU_HOME and port.

    Attributes:
        command: "serve", or "web" or "worker" where `env` names a PostgreSQL.
    """

    home: Path
    assistant: Path = STARTER
    command: str = "serve"
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home / ("serve.log" if self.command == "serve" else f"{self.command}-{self.port}.log")

    def argv(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "bot.cli",
            self.command,
            str(self.assistant),
            "--port",
            str(self.port),
            *self.args,
        ]

    def start(self, timeout_s: float = 90) -> Server:
        """Start and wait until /readyz answers 200."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv(),
                env={**os.environ, "KEFU_HOME": str(self.home), **self.env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"kefu {self.command} is not ready\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        return self

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL the whole process group: nothing gets a chance to tidy up."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 20) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout_s)

    def say(self, text: str, sender: str = "tester", **body: object) -> list[dict[str, object]]:
        """One message over Rasa's REST channel; the bot's messages."""
        answer = httpx.post(
            f"{self.url}/webhooks/rest/webhook", json={"sender": sender, "message": text, **body}, timeout=60
        )
        answer.raise_for_status()
        replies: list[dict[str, object]] = answer.json()
        return replies
