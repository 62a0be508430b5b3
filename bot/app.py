"""Composition root: builds everything once and passes it down; ASGI routes; lifespan; errors → HTTP.

Invariant: nothing here decides about a conversation. `Platform` is what `kefu serve` and `kefu chat` both run.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from connectors.rest import Rest
from connectors.webchat import WebChat
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from models.runtime import ServedUnderstander
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException

from bot import __version__
from bot.assistant.domain import Assistant
from bot.assistant.loader import load_assistant
from bot.errors import ConfigurationError, KefuError, SchemaOutdated
from bot.rasa.action_server import ActionRunner, InProcessActions, RemoteActions
from bot.settings import Settings, environment
from bot.storage import inbox
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.ports import SqlPorts
from bot.telemetry import Metrics
from bot.worker import Bot, TurnTrace, Worker
from connectors.base import Connector, ConnectorError
from models.base import ModelUnavailable, Understander
from models.registry import Registry

log = logging.getLogger("kefu.app")

KIND = "understanding"
DEBUG_TURNS = 500


def load_bot(folder: Path) -> Bot:
    """Read the assistant and its custom actions. Raises AssistantError with file, line and field."""
    assistant = load_assistant(folder, environment())
    return Bot.of(assistant, actions_of(assistant))


def actions_of(assistant: Assistant) -> ActionRunner:
    """A remote action server where endpoints.yml names one, else the project's `actions/` in process."""
    url = assistant.endpoints.action_url
    return RemoteActions(url) if url else InProcessActions.load(assistant.root)


@dataclass
class Platform:
    """Everything that runs in one process, built once. `start` before the first message, `stop` after the last."""

    settings: Settings
    bot: Bot
    db: Database
    hub: Hub
    understander: Understander
    worker: Worker
    ports: SqlPorts
    connectors: Sequence[Connector]
    metrics: Metrics
    traces: deque[TurnTrace]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _lock: TextIO | None = None

    @classmethod
    def build(
        cls,
        settings: Settings,
        bot: Bot,
        *,
        debug: bool = False,
        understander: Understander | None = None,
        observer: Callable[[TurnTrace], None] | None = None,
    ) -> Platform:
        """Wire one assistant. `understander` replaces the registry's model (a scripted one in tests)."""
        settings.home.mkdir(parents=True, exist_ok=True)
        assistant_id = bot.assistant.assistant_id
        db, hub, metrics = Database.open(settings.database), Hub(), Metrics()
        registry = Registry(settings.models_dir, assistant_id)
        served = understander or ServedUnderstander(registry, KIND, threads=settings.inference_threads)
        traces: deque[TurnTrace] = deque(maxlen=DEBUG_TURNS)
        connectors: list[Connector] = [
            Rest(),
            WebChat(
                brand=bot.assistant.brand.public(),
                secret=settings.secret(),
                widget_secret=settings.widget_secret,
                allowed_origins=settings.allowed_origins,
                debug=debug,
            ),
        ]
        worker = Worker(
            db=db,
            hub=hub,
            bot=bot,
            understander=served,
            connectors=connectors,
            metrics=metrics,
            worker_id=f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}",
            observer=observer or (traces.append if debug else None),
        )
        ports = SqlPorts(db, hub, assistant_id, max_waiting=settings.max_waiting)
        return cls(
            settings=settings,
            bot=bot,
            db=db,
            hub=hub,
            understander=served,
            worker=worker,
            ports=ports,
            connectors=connectors,
            metrics=metrics,
            traces=traces,
        )

    async def start(self) -> None:
        """Check the schema, take over what a dead process held, load the model, begin to work."""
        if self.db.dialect == "sqlite":
            self._lock = lock_home(self.settings.home)
            await asyncio.to_thread(self.db.upgrade)
            # One process owns a SQLite file (the lock says so): every lease in it belongs to the dead.
            assistant_id = self.bot.assistant.assistant_id
            await self.db.write(lambda c: inbox.release(c, assistant_id, None))
        elif not await asyncio.to_thread(self.db.is_current):
            raise SchemaOutdated
        await self.ports.start()
        if isinstance(self.understander, ServedUnderstander):
            await self.understander.start()
        self._tasks.append(asyncio.create_task(self.worker.run(), name="worker"))

    async def stop(self) -> None:
        """Let the turns in flight finish, then close."""
        self.worker.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if isinstance(self.understander, ServedUnderstander):
            await self.understander.stop()
        await self.ports.stop()
        await self.db.close()
        if self._lock is not None:
            self._lock.close()

    async def ready(self) -> dict[str, Any]:
        """What a message needs to be answered, part by part; `ready` is true when all are there."""
        worker_runs = any(not task.done() for task in self._tasks)
        model = (
            self.understander.status()
            if isinstance(self.understander, ServedUnderstander)
            else {"version": self.understander.version}
        )
        try:
            await self.db.read(lambda c: inbox.waiting(c, self.bot.assistant.assistant_id))
            database = "ok"
        except KefuError as error:
            database = str(error)
        ready = worker_runs and database == "ok" and bool(model.get("version"))
        return {
            "ready": ready,
            "worker": worker_runs,
            "database": database,
            "model": model,
            "assistant": self.bot.assistant.assistant_id,
        }


def lock_home(home: Path) -> TextIO:
    """One serving process per KEFU_HOME on SQLite. Raises ConfigurationError when another one runs."""
    file = (home / "serve.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(
            f"another `kefu serve` already uses {home}; stop it, or set KEFU_HOME to another folder, or use PostgreSQL (KEFU_DATABASE_URL)"
        ) from error
    return file


# ---- HTTP ----


def build_app(platform: Platform) -> FastAPI:
    """The ASGI application over a platform; its lifespan starts and stops it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await platform.start()
        try:
            yield
        finally:
            await platform.stop()

    app = FastAPI(title="Kefu", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for kind in (KefuError, ConnectorError, HTTPException, ModelUnavailable, Exception):
        app.add_exception_handler(kind, _answer_error)
    _add_health(app, platform)
    for connector in platform.connectors:
        app.router.routes.extend(connector.routes(platform.ports))
    return app


def _add_health(app: FastAPI, platform: Platform) -> None:
    @app.get("/", response_class=PlainTextResponse)
    async def hello() -> str:
        return f"Hello from Kefu: {__version__}"

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        state = await platform.ready()
        return JSONResponse(state, status_code=200 if state["ready"] else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        assistant_id = platform.bot.assistant.assistant_id
        platform.metrics.waiting.set(await platform.db.read(lambda c: inbox.waiting(c, assistant_id)))
        return Response(generate_latest(platform.metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/demo/debug/{token}")
    async def debug(token: str) -> dict[str, Any]:
        webchat = next(c for c in platform.connectors if isinstance(c, WebChat))
        sender_id = webchat.sender_of(token) if webchat.debug else None
        if sender_id is None:
            raise HTTPException(404, "debugging is off; start with `kefu serve --debug`")
        return {"turns": [trace.to_json() for trace in platform.traces if trace.sender_id == sender_id]}


async def _answer_error(_: Request, error: Exception) -> Response:
    """Rasa's error shape, never a stack trace."""
    status = getattr(error, "http_status", None) or getattr(error, "status_code", None) or 500
    if isinstance(error, ModelUnavailable):
        status = 503
    if status >= 500:
        log.error("http.failed", exc_info=error)
    message = (
        str(getattr(error, "detail", "") or error)
        if status < 500 or isinstance(error, KefuError | ConnectorError)
        else "internal error"
    )
    body = {
        "version": __version__,
        "status": "failure",
        "message": message,
        "reason": type(error).__name__,
        "code": status,
    }
    retry_after = getattr(error, "retry_after_s", None)
    headers: Mapping[str, str] = {"Retry-After": str(max(1, round(retry_after)))} if retry_after else {}
    return JSONResponse(body, status_code=status, headers=dict(headers))


# ---- serving ----


async def serve(
    platform: Platform, *, on_ready: Callable[[], None], watch: Callable[[Platform], Awaitable[None]] | None = None
) -> None:
    """Listen until a signal comes. `on_ready` is called once a message would be answered."""
    import uvicorn

    settings = platform.settings
    config = uvicorn.Config(
        build_app(platform),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=64 * 1024,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    watching = asyncio.create_task(watch(platform)) if watch and server.started else None
    if server.started:
        on_ready()
    try:
        await serving
    finally:
        if watching is not None:
            watching.cancel()
    if not server.started:
        raise ConfigurationError(
            f"could not listen on {settings.host}:{settings.port}; the lines above say why (another port: --port)"
        )


async def follow_files(platform: Platform, tell: Callable[[str], None]) -> None:
    """`--reload`: take changed assistant files at once; a broken file keeps the old assistant and says what is wrong."""
    from watchfiles import awatch

    root = platform.bot.assistant.root
    async for _ in awatch(root):
        try:
            fresh = await asyncio.to_thread(load_bot, root)
        except KefuError as error:
            tell(f"not reloaded, the assistant from before keeps serving:\n  {error}")
            continue
        stale_model = fresh.assistant.nlu_fingerprint != platform.worker.bot.assistant.nlu_fingerprint
        platform.bot = platform.worker.bot = fresh
        tell("assistant reloaded" + ("; its training examples changed: run `kefu train`" if stale_model else ""))
