"""The one module that imports `rasa`: a Rasa 3.6 in this process, driven by JSON lines on stdin and stdout.

It is run by path, with the interpreter of Rasa's own environment (Python 3.8 to 3.10), and imports nothing of Kefu;
`bot.rasa.oracle` is the other end. No network, no scheduler: custom actions are rasa-sdk classes in this process,
reminders wait until they are asked for, and the clock is what a request says.
Invariant: one request, one answer: `{"ok": true, "result": …}` or `{"ok": false, "error": …, "kind": …}`.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc"
# ruff: noqa: E402
from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import logging
import os
import pkgutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, TextIO  # noqa: UP035

STATE_KEYS = ("slots", "active_loop", "latest_action", "latest_input_channel", "paused", "followup_action")
CHANNEL = "rest"
_TICK_S = 1e-6


class Clock:
    """`time.time` of the whole process: real, or from a given moment on, 1 µs later at each look."""

    def __init__(self) -> None:
        self._real = time.time
        self._now: float | None = None

    def set(self, now: float | None) -> None:
        self._now = now

    def time(self) -> float:
        if self._now is None:
            return self._real()
        self._now += _TICK_S
        return self._now


CLOCK = Clock()
# Before rasa is imported: its modules look `time.time` up when they call it, also the session's expiry.
time.time = CLOCK.time
warnings.simplefilter("ignore")

import jsonschema
import numpy as np
import rasa
import rasa.core.utils
import rasa.model_training
import rasa.server
import rasa.shared.utils.io
import rasa.utils.log_utils
from rasa.core.channels.channel import CollectingOutputChannel, UserMessage
from rasa.core.lock_store import InMemoryLockStore
from rasa.core.nlg import TemplatedNaturalLanguageGenerator
from rasa.core.policies.policy import PolicyPrediction
from rasa.core.processor import MessageProcessor
from rasa.core.tracker_store import InMemoryTrackerStore
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, ReminderCancelled, ReminderScheduled
from rasa.shared.core.trackers import EventVerbosity
from rasa.shared.importers.importer import TrainingDataImporter
from rasa.utils.endpoints import ClientResponseError, EndpointConfig
from rasa.validator import Validator
from rasa_sdk import Action
from rasa_sdk.executor import ActionExecutor
from rasa_sdk.interfaces import ActionExecutionRejection

Json = Dict[str, Any]  # noqa: UP006  evaluated, and Python 3.8 reads this file too


class BadRequest(Exception):
    """The request cannot be carried out; the message says why."""


# ---- custom actions ----


class InProcessEndpoint(EndpointConfig):
    """What Rasa takes for an action server: the project's rasa-sdk classes, called with copies."""

    def __init__(self, executor: Any) -> None:
        super().__init__(url="in-process")
        self._executor = executor

    async def request(self, method: str = "post", **kwargs: Any) -> Any:
        """The action's answer; what it raises becomes the HTTP status that an action server gives."""
        call = json.loads(json.dumps(kwargs["json"]))
        try:
            answer = await self._executor.run(call)
        except ActionExecutionRejection as rejection:
            body = {"error": rejection.message, "action_name": rejection.action_name}
            raise ClientResponseError(400, "Bad Request", json.dumps(body)) from rejection
        except Exception as error:
            raise ClientResponseError(500, "Internal Server Error", repr(error)) from error
        return json.loads(json.dumps(answer))


def _validate_answer(instance: Any, schema: Any) -> None:
    """`jsonschema.validate` without its check of the schema: Rasa asks after every action, always with its own."""
    jsonschema.validators.validator_for(schema)(schema).validate(instance)


def load_actions(folder: Path) -> Any:
    """An executor with the actions of `folder` (`actions/` or `actions.py`), freshly imported."""
    for name in [name for name in sys.modules if name == "actions" or name.startswith("actions.")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    executor = ActionExecutor()
    try:
        for module in _modules("actions"):
            for action in _actions_of(module):
                executor.register_action(action)
    finally:
        sys.path.remove(str(folder))
    return executor


def _modules(name: str) -> Iterator[Any]:
    root = importlib.import_module(name)
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", []), prefix=name + "."):
        yield importlib.import_module(found.name)


def _actions_of(module: Any) -> Iterator[Any]:
    for value in list(vars(module).values()):
        if inspect.isclass(value) and issubclass(value, Action) and value.__module__ == module.__name__:
            if inspect.isabstract(value):
                continue
            try:
                action: Any = value()
                action.name()
            except NotImplementedError:
                continue  # a base class of the project
            yield action


# ---- one loaded model ----


class Store(InMemoryTrackerStore):
    """Rasa's in-memory store (it keeps the last session only), which also tells what a request added."""

    def __init__(self, domain: Any) -> None:
        super().__init__(domain)
        self._known: dict[str, int] = {}
        self.fresh: list[Json] = []

    async def _retrieve(self, sender_id: str, fetch_all_sessions: bool) -> Any:
        tracker = await super()._retrieve(sender_id, fetch_all_sessions)
        self._known[sender_id] = len(tracker.events) if tracker else 0
        return tracker

    async def save(self, tracker: Any) -> None:
        events = list(tracker.events)
        self.fresh = [event.as_dict() for event in events[self._known.get(tracker.sender_id, 0) :]]
        self.store[tracker.sender_id] = self.serialise_tracker(tracker)

    def forget(self, sender_id: str) -> None:
        self.store.pop(sender_id, None)
        self._known.pop(sender_id, None)


class Processor(MessageProcessor):
    """Rasa's own, but reminders wait in `reminders` until `fire` instead of running on a scheduler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.reminders: dict[str, tuple[Any, str]] = {}
        super().__init__(*args, **kwargs)

    async def _schedule_reminders(self, events: Any, tracker: Any, output_channel: Any) -> None:
        for event in events:
            if isinstance(event, ReminderScheduled):
                self.reminders[event.name] = (event, tracker.sender_id)

    async def _cancel_reminders(self, events: Any, tracker: Any) -> None:
        for event in events:
            if isinstance(event, ReminderCancelled):
                for name, (reminder, sender) in list(self.reminders.items()):
                    if event.cancels_job_with_name(reminder.scheduled_job_name(sender), tracker.sender_id):
                        del self.reminders[name]

    def take_reminders(self, sender_id: str) -> list[Any]:
        """The sender's reminders, the earliest first; they are no longer pending."""
        due = [(name, event) for name, (event, sender) in self.reminders.items() if sender == sender_id]
        for name, _ in due:
            del self.reminders[name]
        return [event for _, event in sorted(due, key=lambda each: each[1].trigger_date_time.timestamp())]


class Stage:
    """A model that is loaded, its conversations, and what a request may do with them."""

    def __init__(self, model: str, actions: str | None) -> None:
        self.store = Store(Domain.empty())
        self.nlg = TemplatedNaturalLanguageGenerator({})
        endpoint = InProcessEndpoint(load_actions(Path(actions))) if actions else None
        self.processor = Processor(
            model_path=model,
            tracker_store=self.store,
            lock_store=InMemoryLockStore(),
            generator=self.nlg,
            action_endpoint=endpoint,
        )
        self.domain = self.processor.domain
        self.store.domain = self.domain
        self.nlg.responses = self.domain.responses

    async def _outcome(self, sender: str, said: Any = None) -> Json:
        """What the request added, what was said, and the state after it."""
        fresh = self.store.fresh
        tracker = await self.store.get_or_create_tracker(sender, append_action_listen=False)
        state = tracker.current_state(EventVerbosity.NONE)
        self.store.fresh = []
        messages = [{k: v for k, v in each.items() if k != "recipient_id"} for each in (said.messages if said else [])]
        return {"events": fresh, "messages": messages, "state": {key: state.get(key) for key in STATE_KEYS}}

    async def turn(self, request: Json) -> Json:
        """`processor.handle_message`: session, parse (or the given parse data), slots, prediction loop."""
        said = CollectingOutputChannel()
        message = UserMessage(
            request["text"],
            said,
            request["sender"],
            parse_data=request.get("parse_data"),
            input_channel=request.get("channel", CHANNEL),
            message_id=request.get("message_id"),
            metadata=request.get("metadata"),
        )
        await self.processor.handle_message(message)
        return await self._outcome(request["sender"], said)

    async def trigger_intent(self, request: Json) -> Json:
        if request["intent"] not in self.domain.intents:
            raise BadRequest(f"the domain has no intent '{request['intent']}'")
        said = CollectingOutputChannel()
        tracker = await self.processor.fetch_tracker_and_update_session(request["sender"])
        entities = request.get("entities") or []
        await self.processor.trigger_external_user_uttered(request["intent"], entities, tracker, said)
        return await self._outcome(request["sender"], said)

    async def execute(self, request: Json) -> Json:
        """As `POST /execute`: no policy events, no `hide_rule_turn`."""
        said = CollectingOutputChannel()
        prediction = PolicyPrediction.for_action_name(
            self.domain, request["name"], request.get("policy"), request.get("confidence") or 0.0
        )
        await self.processor.execute_action(request["sender"], request["name"], said, self.nlg, prediction)
        return await self._outcome(request["sender"], said)

    async def append(self, request: Json) -> Json:
        """As `POST /tracker/events`, without side effects."""
        events = [Event.from_parameters(dict(body)) for body in request["events"]]
        tracker = await rasa.server.update_conversation_with_events(
            request["sender"], self.processor, self.domain, [event for event in events if event]
        )
        await self.store.save(tracker)
        return await self._outcome(request["sender"])

    async def fire_reminders(self, request: Json) -> list[Json]:
        """The pending reminders of the sender come due, one outcome each; an outdated one has no events."""
        outcomes = []
        for reminder in self.processor.take_reminders(request["sender"]):
            said = CollectingOutputChannel()
            await self.processor.handle_reminder(reminder, request["sender"], said)
            outcomes.append({"name": reminder.name, **await self._outcome(request["sender"], said)})
        return outcomes

    async def predict(self, request: Json) -> Json:
        """What the policies say next; as `POST /predict`, with the best action named."""
        answer = await self.processor.predict_next_for_sender_id(request["sender"])
        best = max(answer["scores"], key=lambda each: each["score"])
        self.store.fresh = []
        return {"action": best["action"], "policy": answer["policy"], "confidence": answer["confidence"]}

    async def parse(self, request: Json) -> Json:
        result: Json = await self.processor.parse_message(UserMessage(request["text"]))
        return result

    async def tracker(self, request: Json) -> Json:
        found = await self.processor.get_tracker(request["sender"])
        result: Json = found.current_state(EventVerbosity.ALL)
        return result

    async def reset(self, request: Json) -> None:
        self.store.forget(request["sender"])
        self.processor.take_reminders(request["sender"])


STAGE_OPERATIONS = (
    "turn",
    "trigger_intent",
    "execute",
    "append",
    "fire_reminders",
    "predict",
    "parse",
    "tracker",
    "reset",
)


# ---- projects on disk ----


def _domain_path(project: Path) -> Path:
    return project / "domain.yml" if (project / "domain.yml").exists() else project / "domain"


def _config(project: Path, request: Json, scratch: Path) -> str:
    """The project's config.yml, with the policies that the request names instead, or without some of them."""
    config = rasa.shared.utils.io.read_config_file(project / "config.yml")
    policies = request.get("policies") or config.get("policies") or []
    without = set(request.get("without") or ())
    config["policies"] = [each for each in policies if each["name"].split(".")[-1] not in without]
    if not config["policies"]:
        raise BadRequest("no policy would be left: name them in the project's config.yml or in `policies`")
    path = scratch / "config.yml"
    rasa.shared.utils.io.write_yaml(config, path)
    return str(path)


def train(request: Json) -> Json:
    """Train the project into `output`; with `core_only` its dialogue alone (parse data must then be given)."""
    project = Path(request["project"])
    with tempfile.TemporaryDirectory() as scratch:
        config = _config(project, request, Path(scratch))
        domain, data = str(_domain_path(project)), str(project / "data")
        output, name = request["output"], request.get("name")
        started = time.monotonic()
        if request.get("core_only"):
            model = rasa.model_training.train_core(domain, config, data, output, fixed_model_name=name)
        else:
            model = rasa.model_training.train(domain, config, [data], output, fixed_model_name=name).model
    if not model:
        raise BadRequest("Rasa trained no model; what it printed says why")
    return {"model": model, "seconds": time.monotonic() - started}


def validate(request: Json) -> Json:
    """What `rasa data validate` checks, one by one; its warnings as text."""
    project = Path(request["project"])
    config, domain = str(project / "config.yml"), str(_domain_path(project))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        importer = TrainingDataImporter.load_from_config(config, domain, [str(project / "data")])
        validator = Validator.from_importer(importer)
        checks = {
            "domain": validator.verify_domain_validity(),
            "nlu": validator.verify_nlu(),
            "slot_mappings": validator.verify_slot_mappings(),
            "form_slots": validator.verify_form_slots(),
            "forms": validator.verify_forms_in_stories_rules(),
            "actions": validator.verify_actions_in_stories_rules(),
            "stories": validator.verify_story_structure(),
        }
    return {"checks": checks, "warnings": [str(each.message) for each in caught]}


def read_domain(request: Json) -> Json:
    """The domain as Rasa holds it, and its actions in the order of their indices."""
    domain = Domain.load(str(_domain_path(Path(request["project"]))))
    return {"domain": domain.as_dict(), "actions": list(domain.action_names_or_texts), "intents": list(domain.intents)}


# ---- requests ----


class Worker:
    """Reads requests until its input ends."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    async def answer(self, request: Json) -> Any:
        operation = request.get("op")
        if "now" in request:
            CLOCK.set(request["now"])
        if request.get("seed") is not None:
            # Rasa draws a response's variation from this generator.
            np.random.seed(request["seed"])
        if operation == "walk":
            return [await self.answer(step) for step in request["steps"]]
        if operation in STAGE_OPERATIONS:
            if self.stage is None:
                raise BadRequest("no model is loaded yet; send `load` first")
            return await getattr(self.stage, str(operation))(request)
        return await self._project(str(operation), request)

    async def _project(self, operation: str, request: Json) -> Any:
        if operation == "hello":
            return {"rasa": rasa.__version__, "python": sys.version.split()[0]}
        if operation == "load":
            self.stage = Stage(request["model"], request.get("actions"))
            return {"actions": list(self.stage.domain.action_names_or_texts)}
        if operation in ("train", "validate", "domain"):
            # In a thread: Rasa's training runs an event loop of its own.
            run = {"train": train, "validate": validate, "domain": read_domain}[operation]
            return await asyncio.get_running_loop().run_in_executor(None, run, request)
        raise BadRequest(f"unknown operation '{operation}'")


def failure(error: BaseException) -> Json:
    return {"ok": False, "kind": type(error).__name__, "error": str(error) or repr(error)}


async def serve(requests: TextIO, answers: TextIO) -> None:
    worker = Worker()
    for line in requests:
        try:
            answer: Json = {"ok": True, "result": await worker.answer(json.loads(line))}
        except (Exception, SystemExit) as error:
            logging.getLogger("rasa_worker").debug("request failed", exc_info=True)
            answer = failure(error)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Answers go to the real stdout; whatever Rasa prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("rasa").setLevel(logging.ERROR)
    rasa.utils.log_utils.configure_structlog(logging.ERROR)
    # Every event that is read back from the store asks for its class, by a walk over all subclasses of Event.
    Event.resolve_by_type = staticmethod(functools.lru_cache(maxsize=None)(Event.resolve_by_type))
    jsonschema.validate = _validate_answer  # nine tenths of a turn with custom actions went into that check
    asyncio.run(serve(sys.stdin, answers))


if __name__ == "__main__":
    main()
