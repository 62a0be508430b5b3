"""Custom actions: rasa-sdk classes of the project's `actions/`, run in this process, or an action server over HTTP.

Invariant: whatever an action does (crash, hang, decline, answer nonsense), the turn gets a value. The company's code
runs on threads of its own and on copies, so it can neither block the service nor change a conversation behind its back.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import itertools
import json
import logging
import math
import pkgutil
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from rasa_sdk import Action  # type: ignore[import-untyped]
from rasa_sdk.executor import ActionExecutor  # type: ignore[import-untyped]
from rasa_sdk.interfaces import ActionExecutionRejection, ActionNotFoundException  # type: ignore[import-untyped]

from bot.dialogue.effects import ActionCrashed, ActionRejected, ActionResult, RunAction
from bot.errors import AssistantError, Where

log = logging.getLogger("kefu.actions")

Outcome = ActionResult | ActionRejected | ActionCrashed

PROTOCOL_VERSION = "3.6.21"
"""What the action server is told; rasa-sdk compares it with its own."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Far beyond any honest answer; what a turn stores is read again at every turn that follows."""


def _payload(effect: RunAction) -> dict[str, Any]:
    """What Rasa sends to an action server."""
    return {
        "next_action": effect.name,
        "sender_id": effect.tracker["sender_id"],
        "tracker": effect.tracker,
        "domain": effect.domain,
        "version": PROTOCOL_VERSION,
    }


def _result(events: object, responses: object) -> Outcome:
    """The answer, if it has the shape of one."""
    for name, value in (("events", events), ("responses", responses)):
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            return ActionCrashed(error=f"the action's `{name}` is not a list of objects")
    return ActionResult(events=tuple(events), responses=tuple(responses))  # type: ignore[arg-type]


def _too_large() -> ActionCrashed:
    return ActionCrashed(error=f"the action's answer is larger than {MAX_ANSWER_BYTES // 1024**2} MB")


def _log_crash(action: str, error: Exception) -> None:
    """Type and places for whoever runs the service; the message, often what a customer typed, at DEBUG only."""
    frames = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("action.crashed", extra={"action": action, "error_type": type(error).__name__, "frames": frames})
    log.debug("action.crash_message", extra={"action": action, "error_message": str(error)})


# ---- in this process ----

_load_count = itertools.count(1)


class InProcessActions:
    """The rasa-sdk actions of one project.

    Async actions run on one event loop of their own, as in Rasa's action server; a sync `run` gets a thread.
    """

    def __init__(self, actions: dict[str, Action], package: str | None = None) -> None:
        self._package = package
        self._executor = ActionExecutor()
        for name, action in actions.items():
            self._executor.actions[name] = _awaitable(action)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> InProcessActions:
        """Import `actions/` (or `actions.py`) of the project in `folder`; no such file means no custom actions.

        The modules get a name of their own, so that two assistants do not clash, and loading again after a change
        gives the new code. The folder is appended to `sys.path`: the project cannot shadow what Kefu imports.

        Raises:
            AssistantError: the code cannot be imported, with file and line.
        """
        folder = folder.resolve()
        source = next((path for path in (folder / "actions", folder / "actions.py") if path.exists()), None)
        if source is None:
            return cls({})
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        package = f"kefu_actions_{next(_load_count)}"
        with _ActionsAlias(package):
            try:
                modules = list(_import_all(package, source))
                actions = {action.name(): action for module in modules for action in _actions_of(module)}
            # The company's code may raise anything while it is imported; all of it is the same problem to its author.
            except Exception as error:
                _forget(package)
                raise _import_error(error, source) from error
        actions.pop("", None)
        return cls(actions, package)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._executor.actions))

    async def run(self, effect: RunAction, deadline_s: float) -> Outcome:
        """The action's answer; what goes wrong, or takes longer than `deadline_s`, is an answer too."""
        future = asyncio.run_coroutine_threadsafe(self._run(effect), self._own_loop())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), deadline_s)
        except TimeoutError:
            future.cancel()
            log.warning("action.timed_out", extra={"action": effect.name})
            return ActionCrashed(error=f"no answer within {deadline_s:g} s")

    async def _run(self, effect: RunAction) -> Outcome:
        try:
            # A copy through JSON, as over HTTP: the action may change what it gets, and gets what a server would get.
            call = {**_payload(effect), "tracker": json.loads(json.dumps(effect.tracker))}
            answer = await self._executor.run(call)
            if answer is None:
                return ActionCrashed(error="the action has no name")
            written = json.dumps([answer.events, answer.responses])
            return _too_large() if len(written) > MAX_ANSWER_BYTES else _result(*storable_json(written))
        except ActionExecutionRejection as rejection:
            return ActionRejected(reason=str(rejection.message))
        except ActionNotFoundException:
            known = ", ".join(self.names) or "none"
            return ActionCrashed(error=f"actions/ has no action '{effect.name}' (there: {known})")
        except Exception as error:  # noqa: BLE001 — the company's code may raise anything
            _log_crash(effect.name, error)
            return ActionCrashed(error=f"{type(error).__name__}: {error}")

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="kefu-actions", daemon=True).start()
            return self._loop

    async def close(self) -> None:
        """Stop the actions' loop and forget their modules."""
        with self._starting:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None
        if self._package:
            _forget(self._package)


def _awaitable(action: Action) -> Any:
    """The action's `run`, off the loop where it is a plain function."""
    if inspect.iscoroutinefunction(action.run):
        return action.run

    async def run(dispatcher: Any, tracker: Any, domain: Any) -> Any:
        result = await asyncio.to_thread(action.run, dispatcher, tracker, domain)
        return await result if inspect.isawaitable(result) else result

    return run


class _ActionsAlias(MetaPathFinder, Loader):
    """While a project is imported, `import actions.x` in it means its own package; afterwards nobody sees that name."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._before: dict[str, ModuleType] = {}

    def __enter__(self) -> None:
        self._before = _modules_named("actions")
        _forget("actions")
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        _forget("actions")
        sys.modules.update(self._before)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        is_ours = name == "actions" or name.startswith("actions.")
        return ModuleSpec(name, self) if is_ours else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make an empty module; `exec_module` puts the real one in its place."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(self._package + name.removeprefix("actions"))


def _modules_named(package: str) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name == package or name.startswith(f"{package}.")}


def _forget(package: str) -> None:
    for name in _modules_named(package):
        del sys.modules[name]


def _import_all(package: str, source: Path) -> Iterator[ModuleType]:
    """The package under its own name, and everything in it."""
    if source.is_file():
        yield _import_file(package, source, None)
        return
    initial = source / "__init__.py"
    if initial.exists():
        root = _import_file(package, initial, [str(source)])
    else:
        root = ModuleType(package)
        root.__path__ = [str(source)]
        sys.modules[package] = root
    yield root
    for found in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        yield importlib.import_module(found.name)


def _import_file(name: str, file: Path, search: list[str] | None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _actions_of(module: ModuleType) -> Iterator[Action]:
    """One instance of each action that this very module defines."""
    for value in list(vars(module).values()):
        if (
            inspect.isclass(value)
            and issubclass(value, Action)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
        ):
            action: Any = value()
            try:
                action.name()
            except NotImplementedError:
                continue  # a base class of the project, not an action
            yield action


def _import_error(error: Exception, source: Path) -> AssistantError:
    folder = source if source.is_dir() else source.parent
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    where = Where(file=Path(frames[-1].filename), line=frames[-1].lineno) if frames else Where(file=source)
    if isinstance(error, SyntaxError) and error.filename:
        where = Where(file=Path(error.filename), line=error.lineno)
    hint = None
    if isinstance(error, ModuleNotFoundError):
        hint = f"Install the package that provides '{error.name}' beside Kefu."
    return AssistantError(
        f"the custom actions cannot be imported: {type(error).__name__}: {error}", where=where, hint=hint
    )


# ---- over HTTP ----


class RemoteActions:
    """A Rasa action server at `url` (usually `http://…:5055/webhook`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient()

    async def run(self, effect: RunAction, deadline_s: float) -> Outcome:
        """The server's answer; HTTP 400 means that the action declined, anything else wrong that it crashed."""
        try:
            async with asyncio.timeout(deadline_s):
                status, content = await post_json(self._client, self._url, _payload(effect), deadline_s)
        except (httpx.TimeoutException, TimeoutError):
            return ActionCrashed(error=f"the action server {self._url} gave no answer within {deadline_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, TypeError, ValueError) as error:
            return ActionCrashed(error=f"the action server {self._url} cannot be reached: {error}")
        if len(content) > MAX_ANSWER_BYTES:
            return _too_large()
        try:
            body = storable_json(content)
        except (ValueError, RecursionError):
            body = None
        if status == httpx.codes.BAD_REQUEST:
            reason = body.get("error") if isinstance(body, dict) else None
            return ActionRejected(reason=str(reason or "declined"))
        if status != httpx.codes.OK:
            return ActionCrashed(error=f"the action server answered {status}")
        if not isinstance(body, dict):
            return ActionCrashed(error="the action server's answer is not a JSON object that can be stored")
        return _result(body.get("events") or [], body.get("responses") or [])

    async def close(self) -> None:
        await self._client.aclose()


def storable_json(written: str | bytes) -> Any:
    """A JSON value that a database stores: neither NaN nor a number beyond any float nor half an emoji in it.

    Raises ValueError, or RecursionError for what is nested without end.
    """
    value = json.loads(written, parse_constant=_refuse_constant, parse_float=_finite)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(f"{written} is too large")
    return value


async def post_json(
    client: httpx.AsyncClient, url: str | httpx.URL, payload: dict[str, Any], deadline_s: float
) -> tuple[int, bytes]:
    """Status and body; of a giant body the beginning, with more than MAX_ANSWER_BYTES."""
    content = bytearray()
    async with client.stream("POST", url, json=payload, timeout=deadline_s) as answer:
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                break
    return answer.status_code, bytes(content)
