"""Composition root: builds everything once and passes it down; ASGI routes; lifespan; errors → HTTP.

Invariant: nothing here decides about a conversation. `Platform` is what `kefu serve` and `kefu chat` both run.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from watchfiles import Change

from bot import __version__
from bot.answers.knowledge import today_in
from bot.answers.rephraser import Rephraser
from bot.answers.service import Knowledge
from bot.answers.suggest_service import Suggestions
from bot.answers.writers import CurrentWriter, Writers
from bot.assistant.domain import SUGGEST_ACTION
from bot.assistant.loader import Assistant, load_assistant
from bot.background_tuning import BackgroundTuning
from bot.brokers import Publisher, sink_of
from bot.channels import brand_shown, connectors_of
from bot.entrance import AsciiQueries, NoSniff, RefusalLimit
from bot.errors import ConfigurationError, KefuError, SchemaOutdated, StorageError
from bot.files import Files
from bot.platform_files import PlatformFiles
from bot.rasa.action_server import InProcessActions, RemoteActions
from bot.rasa.duckling import duckling_of
from bot.rasa.engine import RasaEngine
from bot.rasa.http_access import Access
from bot.rasa.http_api import api_routes
from bot.rasa.http_platform import Api
from bot.rasa.http_training import Trainer
from bot.rasa.nlg_server import nlg_server_of
from bot.rasa.rasa_server import RasaServer
from bot.settings import Settings, environment, publish_home
from bot.storage import inbox
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.notify import Listener
from bot.storage.passages import PostgresKnowledge
from bot.storage.ports import Limits, SqlPorts, listen
from bot.story_policy import learned_policies
from bot.suggesting import SuggestingActions
from bot.telemetry import Metrics
from bot.turns import ActionRunner, Bot, Engine, TurnTrace
from bot.worker import Worker
from connectors.base import Background, Connector, ConnectorError, Ports
from connectors.refusals import Refusals
from connectors.webchat import WebChat
from models.base import KIND, ModelUnavailable, Understander
from models.client import RemoteUnderstander, urls_of
from models.registry import Registry
from models.runtime import ServedUnderstander

log = logging.getLogger("kefu.app")

DEBUG_TURNS = 500
BACKGROUND_PAUSE_S = 5.0

Role = Literal["all", "web", "worker"]
"""What a process does: take messages in and show answers, decide about answers and push them, or both."""


def load_bot(folder: Path, settings: Settings) -> Bot:
    """Read the assistant, its custom actions, and the policy that has learned from its stories, if there is one.

    Raises AssistantError with file, line and field.
    """
    assistant = load_assistant(folder, environment())
    registry = Registry(settings.models_dir, assistant.assistant_id)
    writing = CurrentWriter(writers_of(settings, assistant)) if assistant.config.generation.is_on else None
    knowledge = knowledge_of(settings, assistant, writing)
    actions = actions_of(assistant, suggestions_of(settings, assistant, knowledge))
    bot = Bot.of(assistant, actions, learned_policies(assistant, registry))
    served = replace(bot, values=duckling_of(assistant.duckling), engine=engine_of(bot), knowledge=knowledge)
    return served.worded_by(nlg_server_of(assistant)).rephrased_by(rephraser_of(assistant, writing))


def understander_of(settings: Settings, registry: Registry) -> ServedUnderstander | RemoteUnderstander:
    """The model in this process, or where KEFU_MODELS says. Raises ConfigurationError where that names nothing."""
    if settings.models is None:
        return ServedUnderstander(registry, KIND, threads=settings.inference_threads)
    try:
        return RemoteUnderstander(urls_of(settings.models, registry.assistant_id))
    except ValueError as error:
        raise ConfigurationError(f"KEFU_MODELS: {error} (see docs/settings.md)") from error


def knowledge_of(settings: Settings, assistant: Assistant, writing: CurrentWriter | None = None) -> Knowledge | None:
    """The assistant's documents, where kefu.yml lets them answer (`answers:`); quoted without `writing`."""
    if assistant.config.answers is None:
        return None
    return Knowledge(
        settings.knowledge_dir(assistant.assistant_id),
        assistant.brand,
        threads=settings.inference_threads,
        today=lambda: today_in(assistant.config.timezone),
        intent=assistant.config.answers.intent,
        writing=writing,
        shared=shared_index_of(settings, assistant),
    )


def shared_index_of(settings: Settings, assistant: Assistant) -> PostgresKnowledge | None:
    """Where the index of the assistant's documents is shared (KEFU_KNOWLEDGE_STORE); None where it is a folder.

    Raises ConfigurationError where the database cannot hold it.
    """
    if settings.knowledge_store == "files":
        return None
    return PostgresKnowledge(Database.open(settings.database), assistant.assistant_id)


def writers_of(settings: Settings, assistant: Assistant) -> Writers:
    """Who may word what the documents answer, and what responses say (`generation:`)."""
    return Writers(
        store=settings.knowledge_dir(assistant.assistant_id),
        config=assistant.config.generation,
        brand=assistant.brand,
        threads=settings.inference_threads,
    )


def rephraser_of(assistant: Assistant, writing: CurrentWriter | None) -> Rephraser | None:
    """Who says responses in other words; None where no generator shall, or a Rasa server says them."""
    if writing is None or assistant.config.rasa:
        return None
    return Rephraser(writing, assistant.config.generation.deadline_s)


def tuning_of(settings: Settings, assistant: Assistant) -> BackgroundTuning | None:
    """What is trained while the server runs; None where nothing can be worded."""
    if assistant.config.answers is None or not assistant.config.generation.is_on:
        return None
    return BackgroundTuning(settings, assistant.root, writers_of(settings, assistant))


def suggestions_of(settings: Settings, assistant: Assistant, knowledge: Knowledge | None) -> Suggestions:
    """What `action_suggest` chooses from; texts are read by the encoder that reads the documents, if there is one."""
    cache = settings.suggest_dir(assistant.assistant_id)
    return Suggestions(assistant, knowledge.embedder if knowledge else lambda: None, cache)


def engine_of(bot: Bot) -> Engine | None:
    """The Rasa server that kefu.yml names (`dialogue: rasa`); None where Kefu decides itself."""
    rasa = bot.assistant.config.rasa
    return RasaEngine(RasaServer(rasa.url, rasa.token), bot.dialogue) if rasa else None


def actions_of(assistant: Assistant, suggestions: Suggestions | None = None) -> ActionRunner:
    """A remote action server where endpoints.yml names one, else the project's `actions/` in process; `action_suggest`
    beside them, unless the domain lists one of the project's own.

    Where a Rasa server decides it also calls the actions: none are loaded here.
    """
    if assistant.config.rasa:
        return InProcessActions({})
    url = (assistant.endpoints.get("action_endpoint") or {}).get("url")
    actions = RemoteActions(url) if url else InProcessActions.load(assistant.root)
    if SUGGEST_ACTION in assistant.domain.custom_actions:
        return actions
    return SuggestingActions(actions, suggestions or Suggestions(assistant))


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
    refusals: Refusals
    role: Role = "all"
    publisher: Publisher | None = None
    tuning: BackgroundTuning | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _background: list[asyncio.Task[None]] = field(default_factory=list)
    _publishing: asyncio.Task[None] | None = None
    _tuning: asyncio.Task[None] | None = None
    _lock: TextIO | None = None
    _listener: Listener | None = None

    @classmethod
    def build(
        cls,
        settings: Settings,
        bot: Bot,
        *,
        debug: bool = False,
        role: Role = "all",
        connectors: Sequence[Connector] | None = None,
        understander: Understander | None = None,
        observer: Callable[[TurnTrace], None] | None = None,
        tuning: BackgroundTuning | None = None,
    ) -> Platform:
        """Wire one assistant. `understander` replaces the registry's model (a scripted one in tests), `connectors` the
        channels that credentials.yml names; `tuning` runs while this platform does.

        Raises ConfigurationError where endpoints.yml's event broker or the place of customers' files cannot be used.
        """
        publish_home(settings)
        assistant_id = bot.assistant.assistant_id
        db, hub, metrics = Database.open(settings.database), Hub(), Metrics()
        served = understander or understander_of(settings, Registry(settings.models_dir, assistant_id))
        traces: deque[TurnTrace] = deque(maxlen=DEBUG_TURNS)
        refusals = Refusals(settings.refusals_per_min)
        if connectors is None:
            connectors = connectors_of(bot, settings, debug=debug, refusals=refusals)
        process = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        sink = sink_of(bot.assistant.endpoints, bot.assistant.root, settings.database, environment())
        files = Files.of(settings, bot.assistant, db)
        worker = Worker(
            db=db,
            hub=hub,
            bot=bot,
            understander=served,
            connectors=connectors,
            metrics=metrics,
            worker_id=process,
            observer=observer or (traces.append if debug else None),
            chores=[files.tidy],
            files=PlatformFiles(connectors, files),
        )
        names = [connector.name for connector in connectors]
        ports = SqlPorts(
            db, hub, assistant_id, Limits(max_waiting=settings.max_waiting, channels=frozenset(names)), files
        )
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
            refusals=refusals,
            role=role,
            publisher=Publisher(db, assistant_id, sink, process) if sink and role != "web" else None,
            tuning=tuning if role != "web" else None,
        )

    @property
    def webchat(self) -> WebChat:
        return next(connector for connector in self.connectors if isinstance(connector, WebChat))

    def prepare(self) -> None:
        """Take KEFU_HOME and bring the schema up to date (SQLite), or check the schema (PostgreSQL).

        Raises ConfigurationError or SchemaOutdated: better before a server starts to listen than inside it.
        """
        if self.db.dialect == "sqlite":
            if self.role != "all":
                raise ConfigurationError(
                    f"`kefu {self.role}` shares its database with other processes, which SQLite does not let it do; "
                    "set KEFU_DATABASE_URL to a PostgreSQL, or run `kefu serve`"
                )
            self._lock = self._lock or lock_database(self.settings.database)
            self.db.upgrade()
        elif not self.db.is_current():
            raise SchemaOutdated

    async def start(self) -> None:
        """Take over what a dead process held, load the model, begin to work."""
        await asyncio.to_thread(self.prepare)
        if self.db.dialect == "sqlite":
            # One process owns a SQLite file (the lock says so): every lease in it belongs to the dead.
            assistant_id = self.bot.assistant.assistant_id
            await self.db.write(lambda c: inbox.release(c, assistant_id, None, datetime.now(UTC)))
        self._listener = listen(self.db, self.hub, self.bot.assistant.assistant_id)
        if self.role != "web":
            if isinstance(self.understander, ServedUnderstander | RemoteUnderstander):
                await self.understander.start()
            self._tasks.append(asyncio.create_task(self.worker.run(), name="worker"))
        for connector in self.connectors if self.role != "worker" else ():
            if isinstance(connector, Background):
                self._background.append(asyncio.create_task(_kept_up(connector, self.ports), name=connector.name))
        if self.publisher is not None:
            self._publishing = asyncio.create_task(self.publisher.run(), name="broker")
        if self.tuning is not None:
            self._tuning = asyncio.create_task(self.tuning.run(), name="tuning")

    async def stop(self) -> None:
        """Let the turns in flight finish, then close."""
        self.worker.stop()
        if self._tuning is not None:
            self._tuning.cancel()
        await asyncio.gather(*self._tasks, *([self._tuning] if self._tuning else []), return_exceptions=True)
        for task in self._background:  # last: what is still being sent may need a channel's connection
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.publisher is not None and self._publishing is not None:
            self.publisher.stop()
            await asyncio.gather(self._publishing, return_exceptions=True)
        await self.worker.bot.close()
        if self.role != "web" and isinstance(self.understander, ServedUnderstander | RemoteUnderstander):
            await self.understander.stop()
        if self._listener is not None:
            await asyncio.to_thread(self._listener.stop)
        await self.db.close()
        if self._lock is not None:
            self._lock.close()

    async def ready(self) -> dict[str, Any]:
        """What this process needs for its part of an answer, part by part; `ready` is true when all are there."""
        assistant_id = self.bot.assistant.assistant_id
        try:
            await self.db.read(lambda c: inbox.waiting(c, assistant_id))
            database = "ok"
        except Exception:  # whatever it is, the page says so, and the log says what
            log.exception("database.unreachable")
            database = "unreachable"
        if self.role == "web":
            return {"ready": database == "ok", "assistant": assistant_id, "role": self.role, "database": database}
        worker = any(not task.done() for task in self._tasks)
        version = self.understander.version
        served = self.understander
        status = served.status() if isinstance(served, ServedUnderstander | RemoteUnderstander) else None
        engine = await self.bot.engine.status() if self.bot.engine else {}
        tuning = self.tuning.state if self.tuning else None
        return {
            "ready": worker and database == "ok" and bool(version) and "problem" not in engine,
            "assistant": assistant_id,
            "worker": worker,
            "database": database,
            "model": asdict(status) if status else {"version": version},
            **({"rasa": dict(engine)} if engine else {}),
            **({"tuning": tuning.to_json()} if tuning else {}),
        }


async def _kept_up(connector: Background, ports: Ports) -> None:
    """A channel's own work, begun again when it fails: a platform that is away must not end the service."""
    while True:
        try:
            await connector.run(ports)
        except Exception:  # whatever it is, the log says what, and the other channels go on
            log.exception("channel.failed")
        await asyncio.sleep(BACKGROUND_PAUSE_S)


def lock_database(url: str) -> TextIO:
    """One serving process per SQLite file. Raises ConfigurationError when another one runs."""
    database = Path(url.partition("///")[2])
    file = database.with_name(f"{database.name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(
            f"another `kefu serve` already answers from {database}; stop it, set KEFU_HOME to another folder, "
            "or use PostgreSQL (KEFU_DATABASE_URL)"
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
    app.add_middleware(RefusalLimit, refusals=platform.refusals)
    app.add_middleware(NoSniff)
    app.add_middleware(AsciiQueries)
    for kind in (KefuError, ConnectorError, HTTPException, ModelUnavailable, Exception):
        app.add_exception_handler(kind, _answer_error)
    _add_health(app, platform)
    routes = [route for connector in platform.connectors for route in connector.routes(platform.ports)]
    if platform.role != "worker":
        app.router.routes.extend(routes)
        app.router.routes.extend(api_routes(rasa_api(platform)))
    return app


def rasa_api(platform: Platform) -> Api:
    """What Rasa's HTTP API is given. Raises ConfigurationError for a JWT method that cannot be verified."""
    settings, assistant_id = platform.settings, platform.bot.assistant.assistant_id
    return Api(
        bot=lambda: platform.worker.bot,
        db=platform.db,
        ports=platform.ports,
        understander=platform.understander,
        registry=Registry(settings.models_dir, assistant_id),
        trainer=Trainer(settings, assistant_id),
        access=Access.of(
            token=settings.api_token,
            jwt_secret=settings.jwt_secret,
            jwt_method=settings.jwt_method,
            host=settings.host,
        ),
    )


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
    async def metrics(request: Request) -> Response:
        token = platform.settings.api_token
        given = request.headers.get("authorization", "").encode()
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise HTTPException(401, "this page needs KEFU_API_TOKEN as a bearer token")
        assistant_id = platform.bot.assistant.assistant_id
        for what, count in platform.bot.usage().items():
            platform.metrics.generation.labels(what).set(count)
        platform.metrics.waiting.set(await platform.db.read(lambda c: inbox.waiting(c, assistant_id)))
        return Response(generate_latest(platform.metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/demo/debug")
    async def debug(request: Request) -> dict[str, Any]:
        webchat = platform.webchat
        token = request.headers.get("x-kefu-visitor", "")  # not in the URL: proxies log those
        sender_id = webchat.sender_of(token) if webchat.debug else None
        if sender_id is None:
            raise HTTPException(404, "debugging is off; start with `kefu serve --debug`")
        return {"turns": [trace.to_json() for trace in platform.traces if trace.sender_id == sender_id]}


async def _answer_error(_: Request, error: Exception) -> Response:
    """Rasa's error shape, never a stack trace."""
    status = _http_status(error)
    is_ours = isinstance(error, KefuError | ConnectorError | ModelUnavailable | HTTPException)
    is_ours = is_ours and not isinstance(error, StorageError)  # the driver's words name hosts and users
    if status >= 500:
        log.error("http.failed", exc_info=error)
    body = {
        "version": __version__,
        "status": "failure",
        "message": str(getattr(error, "detail", error)) if is_ours else "internal error; the server's log says more",
        "reason": type(error).__name__ if is_ours else "InternalError",
        "code": status,
    }
    retry_after = getattr(error, "retry_after_s", None)
    return JSONResponse(body, status, {"Retry-After": str(max(1, round(retry_after)))} if retry_after else None)


def _http_status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    return 503 if isinstance(error, ModelUnavailable) else getattr(error, "http_status", 500)


# ---- serving ----


class _Listening(uvicorn.Server):
    """A server that says when it listens; by then the platform has started."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            await self._on_ready()


async def serve(
    platform: Platform, *, on_ready: Callable[[dict[str, Any]], None], reload: Callable[[str], None] | None = None
) -> None:
    """Listen until a signal comes.

    Args:
        on_ready: called once, when the server listens, with what /readyz says.
        reload: follow the assistant's files, and tell about it with this.
    """
    settings = platform.settings
    await asyncio.to_thread(platform.prepare)
    if platform.bot.engine is not None:
        await platform.bot.engine.check()
    config = uvicorn.Config(
        build_app(platform),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=128 * 1024,
        timeout_graceful_shutdown=10,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
    )

    async def tell() -> None:
        on_ready(await platform.ready())

    server = _Listening(config, tell)
    watching = asyncio.create_task(follow_files(platform, reload)) if reload else None
    try:
        await server.serve()
    finally:
        if watching is not None:
            watching.cancel()
    if not server.started:
        raise ConfigurationError(
            f"could not serve on {settings.host}:{settings.port}; the lines above say why (another port: --port)"
        )


async def follow_files(platform: Platform, tell: Callable[[str], None]) -> None:
    """`--reload`: take changed files at once; a broken file keeps the assistant from before and says what is wrong."""
    from watchfiles import DefaultFilter, awatch

    root = platform.bot.assistant.root
    home = platform.settings.home

    class OfTheAssistant(DefaultFilter):
        """Not what we write ourselves: KEFU_HOME often lies inside the assistant's folder."""

        def __call__(self, change: Change, path: str) -> bool:
            hidden = any(part.startswith(".") for part in Path(path).relative_to(root).parts)
            return not hidden and not Path(path).is_relative_to(home) and super().__call__(change, path)

    replaced: Bot | None = None
    async for _ in awatch(root, watch_filter=OfTheAssistant()):
        try:
            fresh = await asyncio.to_thread(load_bot, root, platform.settings)
        except Exception as error:  # noqa: BLE001  an author's typo of any kind must not end the following
            tell(f"not reloaded, the assistant from before keeps serving:\n  {error}")
            continue
        if replaced is not None:
            await replaced.close()  # one generation late: turns that began before the change may still use its actions
        replaced = platform.worker.bot
        stale_model = fresh.assistant.nlu_fingerprint != platform.worker.bot.assistant.nlu_fingerprint
        platform.bot = platform.worker.bot = fresh
        platform.webchat.brand = brand_shown(fresh.assistant.brand)
        tell("assistant reloaded" + ("; its training examples changed: run `kefu train`" if stale_model else ""))
