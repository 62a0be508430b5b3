"""What docker-compose.yml starts, started by hand: its commands and environments, on a real PostgreSQL.

Two web and two worker processes carry conversations on while some of them are killed. The proxy is Caddy where it is
installed, else requests alternate between the web processes.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.chat_client import ChatClient, chat, said
from tests.lab import LABBOT
from tests.postgres import PostgresServer, new_postgres
from tests.server import free_port

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SECRETS = {"KEFU_API_TOKEN": "token of the test", "KEFU_SECRET_KEY": "k" * 64, "POSTGRES_PASSWORD": "secret"}

pytestmark = pytest.mark.postgres


@dataclass
class Stack:
    """The services of docker-compose.yml as processes of this machine."""

    home: Path
    assistant: Path
    database_url: str
    services: dict[str, Any]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def environment(self, service: str) -> dict[str, str]:
        """As compose would give it, but for the database's address, the volume and the mounted folder."""
        given: dict[str, str] = {}
        for name, value in self.services[service]["environment"].items():
            if value is not None:
                given[name] = re.sub(r"\$\{([A-Z_]+):\?[^}]*\}", lambda found: SECRETS[found[1]], value)
        assert given["KEFU_DATABASE_URL"] == "postgresql+psycopg://kefu:secret@postgres/kefu"
        given |= {"KEFU_DATABASE_URL": self.database_url, "KEFU_HOME": str(self.home)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KEFU_")}
        return {**kept, **given, "KEFU_ASSISTANT": str(self.assistant)}

    def command(self, service: str) -> list[str]:
        return [sys.executable, "-m", "bot.cli", *self.services[service]["command"]]

    def run(self, service: str) -> str:
        done = subprocess.run(
            self.command(service),
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, service: str, number: int) -> None:
        name = f"{service}-{number}"
        port = self.ports.setdefault(name, free_port())
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(service),
                env=self.environment(service) | {"KEFU_PORT": str(port)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not _is_ready(port):
            log_text = (self.home / f"{name}.log").read_text()
            assert self.processes[name].poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def stack(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Stack]:
    assistant = tmp_path / "labbot"
    shutil.copytree(LABBOT, assistant)
    config = (assistant / "config.yml").read_text()
    (assistant / "config.yml").write_text(re.sub(r"- name: TEDPolicy\n(  .*\n)+", "", config))
    (assistant / "kefu.yml").write_text("base: ngram\n")
    (assistant / "brand.yml").write_text("disclosure: {enabled: false}\n")
    home = tmp_path / "home"
    home.mkdir()
    services = YAML(typ="safe").load(COMPOSE)["services"]
    started = Stack(home=home, assistant=assistant, database_url=new_postgres(postgres_server), services=services)
    yield started
    started.close()


@contextmanager
def proxy(stack: Stack) -> Iterator[str]:
    """The address of Caddy with compose's own configuration, but for where the web processes are."""
    port = free_port()
    told = (COMPOSE.parent / YAML(typ="safe").load(COMPOSE)["configs"]["caddyfile"]["file"]).read_text()
    upstreams = " ".join(f"127.0.0.1:{port}" for name, port in stack.ports.items() if name.startswith("web"))
    own = re.sub(r"dynamic a web 8000 \{[^}]*\}", f"to {upstreams}", told).replace(":8000 {", f":{port} {{")
    own = re.sub(r"\n *stream_close_delay .*", "", own)  # Debian's Caddy is older than the image's
    file = stack.home / "Caddyfile"
    file.write_text(own.replace("admin off", "admin off\nauto_https off"))
    process = subprocess.Popen(
        ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"],
        env={"HOME": str(stack.home), "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not _is_ready(port):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def talk(stack: Stack, texts: list[str], sender: str) -> list[str]:
    """Each message to another of the web processes that live."""
    webs = itertools.cycle([port for name, port in stack.ports.items() if name in stack.processes and "web" in name])
    heard: list[str] = []
    for text in texts:
        url = f"http://127.0.0.1:{next(webs)}/webhooks/rest/webhook"
        answer = httpx.post(url, json={"sender": sender, "message": text}, timeout=60)
        assert answer.status_code == 200, answer.text
        heard += [message["text"] for message in answer.json()]
    return heard


async def test_what_compose_starts_answers_and_goes_on_without_some_of_its_processes(stack: Stack) -> None:
    stack.run("migrate")
    stack.run("train")
    assert "nothing changed" in stack.run("train")
    for service, number in itertools.product(("web", "worker"), (1, 2)):
        stack.start(service, number)
    assert httpx.get(f"http://127.0.0.1:{stack.ports['worker-1']}/webhooks/rest/", timeout=5).status_code == 404
    hours, goodbye, again = talk(stack, ["/ask_hours", "/goodbye", "/ask_hours"], "anna")
    assert hours == again != goodbye
    stack.kill("worker-1")
    assert talk(stack, ["/ask_hours"], "bert") == [hours]
    with ExitStack() as closing:
        address = closing.enter_context(proxy(stack)) if shutil.which("caddy") else f"127.0.0.1:{stack.ports['web-1']}"
        async with chat(address) as client:
            token = client.welcome["visitor"]
            assert await _turn(client, "/ask_hours", "message-1") == hours
            for number in range(10):  # an answer that is quicker than the word about it makes it needless
                if "typing" in {frame["type"] for frame in client.passed}:
                    break
                assert await _turn(client, "/ask_hours", f"again-{number}") == hours
            else:
                raise AssertionError("nobody was told that an answer is being written")
        stack.kill("web-1")
        address = address if shutil.which("caddy") else f"127.0.0.1:{stack.ports['web-2']}"
        async with chat(address, visitor=token, resume_from=0) as client:
            last_seq = client.welcome["last_seq"]
            entries = await client.messages(last_seq)
            assert [frame["seq"] for frame in entries] == list(range(1, last_seq + 1))
            assert said(entries[1]) == hours
            assert await _turn(client, "/goodbye", "message-2") == goodbye
    worker = stack.processes.pop("worker-2")
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait(20) in (0, -signal.SIGTERM)  # uvicorn closes in good order, then lets the signal end it
    assert "Traceback" not in (stack.home / "worker-2.log").read_text()


async def _turn(client: ChatClient, text: str, key: str) -> str:
    await client.send("send", client_msg_id=key, text=text)
    while (frame := await client.expect("message"))["author"] != "bot":
        pass
    return said(frame)


def test_half_a_server_on_sqlite_says_what_to_do(stack: Stack) -> None:
    done = subprocess.run(
        stack.command("web"),
        env=stack.environment("web") | {"KEFU_DATABASE_URL": "", "KEFU_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "KEFU_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
