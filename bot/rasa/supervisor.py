"""`kefu rasa serve`: Rasa's server and its action server, started, watched, restarted, ended together.

Both listen on this machine only. Invariant: neither outlives this process: each holds one end of a pipe whose other
end is here, and exits when that closes, however this process ended.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from ruamel.yaml import YAML

from bot.errors import ConfigurationError
from bot.rasa.environment import QUIET, RasaEnvironment, check_project, rasa_folder

HOST = "127.0.0.1"
RASA_PORT = 5005
ACTIONS_PORT = 5055
READY_WITHIN_S = 300.0
"""TensorFlow from a cold disk and a large model take minutes on a small machine."""
_POLL_S = 0.5
_BACKOFF_S = 1.0
_BACKOFF_MAX_S = 30.0
_STEADY_AFTER_S = 60.0
"""A process that ran this long before it ended begins its backoff anew."""
_GRACE_S = 10.0

# Runs a module as a program, and ends with the pipe at its stdin: also when the supervisor was killed.
_LIFELINE = (
    "import os, runpy, sys, threading\n"
    "def watch():\n"
    "    while os.read(0, 64):\n"
    "        pass\n"
    "    os._exit(0)\n"
    "threading.Thread(target=watch, daemon=True).start()\n"
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n"
)

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process to keep alive. `health` is a URL that answers 200 once it serves."""

    name: str
    command: Sequence[str]
    health: str


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What `kefu rasa status` reads: who serves what, since when."""

    pid: int
    project: str
    url: str
    actions_url: str | None
    since: str


def programs(
    environment: RasaEnvironment, project: Path, home: Path, *, port: int, actions_port: int, token: str | None
) -> list[Program]:
    """What has to run for a project: its actions first, if it has some and no other server is named for them.

    Raises:
        ConfigurationError: no Rasa project, no trained model, or an unreadable endpoints.yml.
    """
    check_project(project)
    if not any((project / "models").glob("*.tar.gz")):
        raise ConfigurationError(f"{project / 'models'} holds no trained model; run `kefu rasa train {project}`")
    endpoints = _read_yaml(project / "endpoints.yml")
    actions_url = (endpoints.get("action_endpoint") or {}).get("url")
    has_actions = (project / "actions").is_dir() or (project / "actions.py").is_file()
    starts_actions = has_actions and (actions_url is None or _is_here(actions_url))
    if actions_url and _is_here(actions_url):
        actions_port = urlsplit(actions_url).port or ACTIONS_PORT
    found = []
    if starts_actions:
        endpoints["action_endpoint"] = {"url": f"http://{HOST}:{actions_port}/webhook"}
        found.append(_actions_program(environment, actions_port))
    run = rasa_folder(home) / "run"
    run.mkdir(parents=True, exist_ok=True)
    options = ["run", "--enable-api", "--interface", HOST, "--port", str(port), "--model", "models"]
    options += ["--endpoints", str(_write_yaml(run / "endpoints.yml", endpoints))]
    # Without credentials Rasa opens no channel at all.
    credentials = _read_yaml(project / "credentials.yml") or {"rest": None}
    options += ["--credentials", str(_write_yaml(run / "credentials.yml", credentials))]
    options += ["--auth-token", token] if token else []
    command = [str(environment.python), "-I", "-u", "-W", "ignore", "-c", _LIFELINE, "rasa", *options]
    return [*found, Program(name="rasa", command=command, health=f"http://{HOST}:{port}/version")]


def _actions_program(environment: RasaEnvironment, port: int) -> Program:
    options = ["rasa", "run", "actions", "--port", str(port)]
    command = [str(environment.python), "-I", "-u", "-W", "ignore", "-c", _LIFELINE, *options]
    return Program(name="actions", command=command, health=f"http://{HOST}:{port}/health")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "0.0.0.0", "::1")


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        body = YAML(typ="safe").load(file)
    except Exception as error:
        raise ConfigurationError(f"{file} is not readable as YAML: {error}") from error
    if body is not None and not isinstance(body, dict):
        raise ConfigurationError(f"{file}: a mapping is expected at the top")
    return body or {}


def _write_yaml(file: Path, body: Mapping[str, Any]) -> Path:
    """Mode 0600: what it copies may hold passwords."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False  # Rasa's older parser stumbles over `{url: http://…}`
    yaml.dump(dict(body), file)
    return file


# ---- keeping them alive ----


class Supervisor:
    """Keeps programs alive until `stop`. `tell` gets one line at a time, each with the program's name before it."""

    def __init__(self, project: Path, variables: Mapping[str, str], tell: Tell) -> None:
        self._project, self._tell = project, tell
        # rasa-sdk's server listens on every interface unless told otherwise.
        self._variables = {**variables, **QUIET, "SANIC_HOST": HOST}
        self._stopping = asyncio.Event()
        self.restarts = 0
        self.pids: dict[str, int] = {}
        """Of the programs that run now, by name."""

    def stop(self) -> None:
        self._stopping.set()

    async def run(self, programs: Sequence[Program], on_ready: Callable[[], None]) -> None:
        """Start all, report when all are healthy, restart whichever ends, until `stop`.

        Raises:
            ConfigurationError: one of them was never healthy within `READY_WITHIN_S`.
        """
        keepers = [asyncio.create_task(self._keep(program)) for program in programs]
        try:
            await self._all_ready(programs)
            if not self._stopping.is_set():
                on_ready()
            await self._stopping.wait()
        finally:
            self._stopping.set()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _all_ready(self, programs: Sequence[Program]) -> None:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            for program in programs:
                try:
                    async with asyncio.timeout(READY_WITHIN_S):
                        while not (self._stopping.is_set() or await _is_healthy(client, program.health)):
                            await self._pause(_POLL_S)
                except TimeoutError as error:
                    raise ConfigurationError(
                        f"{program.name} did not answer at {program.health} within {READY_WITHIN_S:.0f} s; "
                        "the lines above say why"
                    ) from error

    async def _keep(self, program: Program) -> None:
        """One program: run, pass its lines on, and begin again, ever more slowly, when it ends."""
        wait_s = _BACKOFF_S
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._run_once(program)
            if self._stopping.is_set():
                return
            wait_s = _BACKOFF_S if loop.time() - started > _STEADY_AFTER_S else wait_s
            self._tell(f"{program.name} | ended with {code}; starting again in {wait_s:g} s")
            self.restarts += 1
            await self._pause(wait_s)
            wait_s = min(_BACKOFF_MAX_S, wait_s * 2)

    async def _run_once(self, program: Program) -> int:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            cwd=self._project,
            env=self._variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        self.pids[program.name] = process.pid
        reading = asyncio.create_task(self._pass_on(program.name, process))
        stopping = asyncio.create_task(self._stopping.wait())
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await _end(process)
        code = await ended
        del self.pids[program.name]
        await reading
        return code

    async def _pass_on(self, name: str, process: asyncio.subprocess.Process) -> None:
        stream = process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: dropped by the reader
                continue
            if not line:
                return
            self._tell(f"{name} | {line.decode('utf-8', errors='replace').rstrip()}")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Politely, then by closing its lifeline, then by force."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_healthy(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


# ---- what runs, for `kefu rasa status` ----


def _serving_file(home: Path) -> Path:
    return rasa_folder(home) / "serving.json"


def note_serving(home: Path, project: Path, running: Sequence[Program]) -> None:
    """Leave a note that this process serves; `forget_serving` takes it away."""
    urls = {program.name: program.health.rpartition("/")[0] for program in running}
    note = Serving(
        pid=os.getpid(),
        project=str(project),
        url=urls["rasa"],
        actions_url=urls.get("actions"),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _serving_file(home).write_text(json.dumps(asdict(note)), encoding="utf-8")


def forget_serving(home: Path) -> None:
    _serving_file(home).unlink(missing_ok=True)


def serving(home: Path) -> Serving | None:
    """The `kefu rasa serve` that runs with this KEFU_HOME, if one does."""
    try:
        note = Serving(**json.loads(_serving_file(home).read_text(encoding="utf-8")))
        os.kill(note.pid, 0)
    except PermissionError:
        return note  # another user's process is a process too
    except (OSError, ValueError, TypeError):
        return None
    return note


def answers(url: str) -> str | None:
    """The version that a Rasa server at `url` says it is; None where none answers."""
    try:
        body = httpx.get(f"{url}/version", timeout=5.0, trust_env=False).json()
        return str(body["version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
