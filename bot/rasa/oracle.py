"""A live Rasa 3.6 in a process of its own, asked over a pipe: what would Rasa do here?

The other end is `rasa_worker.py`, run by the interpreter of Rasa's environment. Nothing here decides about a
conversation, and no serving process needs it. An answer is what Rasa did or an OracleError, never a guess; one process
holds one model and answers one request at a time.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bot.errors import KefuError
from bot.settings import environment

WORKER = Path(__file__).with_name("rasa_worker.py")

ANSWER_TIMEOUT_S = 60.0
START_TIMEOUT_S = 180.0
"""Importing TensorFlow from a cold disk takes a minute on a small machine."""
TRAIN_TIMEOUT_S = 3600.0
_STDERR_TAIL = 2_000
_QUIET = {
    "RASA_TELEMETRY_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
}


class OracleError(KefuError):
    """Rasa could not do what was asked.

    Attributes:
        kind: the class of Rasa's own error ("InvalidRule" …), "" where the process ended or was silent.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one request added to a conversation, as Rasa's JSON.

    Attributes:
        events: everything logged, in order, also what a `restart` or a new session hides afterwards.
        messages: as the REST channel returns them, without `recipient_id`.
        state: slots, active_loop, latest_action, latest_input_channel, paused, followup_action.
    """

    events: tuple[dict[str, Any], ...]
    messages: tuple[dict[str, Any], ...]
    state: dict[str, Any]


def turn_request(
    sender: str,
    text: str,
    *,
    parse_data: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    now: float | None = None,
    seed: int | None = None,
    message_id: str | None = None,
) -> dict[str, Any]:
    """One full turn, for `Oracle.walk`.

    Args:
        parse_data: what was understood; without it the model's own NLU reads the text (`/intent{…}` needs neither).
        now: seconds since the epoch that Rasa's clock shows; it stays there, 1 µs a look, until another request sets
            it. Custom actions that read `datetime.now()` still see the real one.
        seed: of the generator that picks between variations of a response.
    """
    given = {"parse_data": parse_data, "metadata": metadata, "now": now, "seed": seed, "message_id": message_id}
    return {"op": "turn", "sender": sender, "text": text, **{k: v for k, v in given.items() if v is not None}}


class Oracle:
    """One Rasa process. Use it in `with`; it ends with the block.

    Args:
        python: interpreter of an environment with rasa 3.6 (`kefu rasa status` says where).
        cache: folder for what Rasa keeps between trainings; without it each process begins afresh.
    """

    def __init__(self, python: Path, *, cache: Path | None = None) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="kefu-oracle-")
        folder = Path(self._scratch.name)
        self._errors = (folder / "stderr").open("wb+")
        variables = {**environment(), **_QUIET, "RASA_CACHE_DIRECTORY": str(cache or folder / "cache")}
        self._process = subprocess.Popen(
            [python, "-I", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=variables,
            cwd=folder,  # Rasa writes `.rasa` and `.keras` folders where it stands
        )
        self._lines = _Lines(_pipe(self._process.stdout))
        self.versions: dict[str, str] = {}
        """What runs: `rasa` and `python`."""

    def __enter__(self) -> Oracle:
        try:
            self.versions = self._ask({"op": "hello"}, START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process: by the end of its input, and by force when that does not help."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it ended before
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        self._errors.close()
        self._scratch.cleanup()

    # ---- projects ----

    def train(
        self,
        project: Path,
        output: Path,
        *,
        name: str | None = None,
        without: Sequence[str] = (),
        policies: Sequence[Mapping[str, Any]] | None = None,
        core_only: bool = False,
    ) -> Path:
        """Train a project folder and return the model file.

        Args:
            without: policies left out of config.yml ("TEDPolicy").
            policies: these instead of config.yml's.
            core_only: dialogue only, in seconds; such a model needs parse data for everything but `/intent`.
        Raises:
            OracleError: Rasa refuses the project (contradicting rules: kind "InvalidRule"), or no policy is left.
        """
        request = {
            "op": "train",
            "project": str(project),
            "output": str(output),
            "name": name,
            "without": list(without),
            "policies": list(policies) if policies else None,
            "core_only": core_only,
        }
        return Path(self._ask(request, TRAIN_TIMEOUT_S)["model"])

    def validate(self, project: Path) -> dict[str, Any]:
        """`rasa data validate`: `checks` (name → passed) and `warnings` (texts)."""
        return dict(self._ask({"op": "validate", "project": str(project)}, START_TIMEOUT_S))

    def domain(self, project: Path) -> dict[str, Any]:
        """The project's domain as Rasa holds it: `domain`, `actions`, `intents`."""
        return dict(self._ask({"op": "domain", "project": str(project)}))

    # ---- conversations with the loaded model ----

    def load(self, model: Path, actions: Path | None = None) -> list[str]:
        """Load a model and the custom actions of a project folder; conversations so far are gone.

        Returns:
            the domain's actions, in the order of their indices.
        """
        request = {"op": "load", "model": str(model), "actions": str(actions) if actions else None}
        return list(self._ask(request, START_TIMEOUT_S)["actions"])

    def turn(self, sender: str, text: str, **given: Any) -> Outcome:
        """One full turn; `given` is what `turn_request` takes."""
        return _outcome(self._ask(turn_request(sender, text, **given)))

    def trigger_intent(self, sender: str, intent: str, entities: object = None, now: float | None = None) -> Outcome:
        request = {"op": "trigger_intent", "sender": sender, "intent": intent, "entities": entities, **_at(now)}
        return _outcome(self._ask(request))

    def execute(self, sender: str, name: str, policy: str | None = None, confidence: float | None = None) -> Outcome:
        request = {"op": "execute", "sender": sender, "name": name, "policy": policy, "confidence": confidence}
        return _outcome(self._ask(request))

    def append(self, sender: str, events: Sequence[Mapping[str, Any]], now: float | None = None) -> Outcome:
        """Log events as `POST /conversations/{id}/tracker/events` does; their timestamps are kept."""
        return _outcome(self._ask({"op": "append", "sender": sender, "events": list(events), **_at(now)}))

    def fire_reminders(self, sender: str, now: float | None = None) -> list[Outcome]:
        """The sender's pending reminders come due, whatever their time; outdated ones do nothing."""
        return [_outcome(each) for each in self._ask({"op": "fire_reminders", "sender": sender, **_at(now)})]

    def predict(self, sender: str) -> dict[str, Any]:
        """The next `action`, its `policy` and `confidence`."""
        return dict(self._ask({"op": "predict", "sender": sender}))

    def parse(self, text: str) -> dict[str, Any]:
        return dict(self._ask({"op": "parse", "text": text}))

    def tracker(self, sender: str) -> dict[str, Any]:
        """The whole tracker as Rasa's store kept it (the last session)."""
        return dict(self._ask({"op": "tracker", "sender": sender}))

    def reset(self, sender: str) -> None:
        """Forget the conversation and its reminders."""
        self._ask({"op": "reset", "sender": sender})

    def walk(self, steps: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Many requests in one round trip, in order; the results are JSON as `rasa_worker` gives them.

        A step that fails ends the walk with an OracleError.
        """
        return list(self._ask({"op": "walk", "steps": list(steps)}, max(ANSWER_TIMEOUT_S, len(steps) * 5.0)))

    def _ask(self, request: Mapping[str, Any], timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        pipe = self._process.stdin
        try:
            if pipe is None:
                raise BrokenPipeError
            pipe.write(json.dumps(request).encode() + b"\n")
            pipe.flush()
            line = self._lines.next(timeout_s)
        except BrokenPipeError:
            line = b""
        except TimeoutError as error:
            self._process.kill()
            raise OracleError(
                f"Rasa did not answer `{request['op']}` within {timeout_s:g} s; {self._tail()}"
            ) from error
        if not line:
            raise OracleError(f"the Rasa process ended during `{request['op']}`; {self._tail()}")
        answer = json.loads(line)
        if not answer["ok"]:
            raise OracleError(f"Rasa refused `{request['op']}`: {answer['error']}", answer["kind"])
        return answer["result"]

    def _tail(self) -> str:
        """The end of what it printed."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _STDERR_TAIL))
        printed = self._errors.read().decode("utf-8", errors="replace").strip()
        return f"it printed at last:\n{printed}" if printed else "it printed nothing"


class _Lines:
    """Lines of a pipe, with a deadline."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._buffer = pipe, b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def next(self, timeout_s: float) -> bytes:
        """The next line; empty at the end. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(self._pipe.fileno(), 1 << 20)
            if not part:
                return b""
            parts.append(part)
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return line


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OracleError("the Rasa process has no pipe")
    return pipe


def _at(now: float | None) -> dict[str, float]:
    return {} if now is None else {"now": now}


def _outcome(body: Mapping[str, Any]) -> Outcome:
    return Outcome(events=tuple(body["events"]), messages=tuple(body["messages"]), state=dict(body["state"]))
