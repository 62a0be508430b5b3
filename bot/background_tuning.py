"""What `kefu serve` trains beside its customers where `generation` is on and nothing was trained yet.

A process of its own does it (`bot.tuning_process`), with one thread and the lowest priority. Invariant: one at a time
for a KEFU_HOME, begun at most once a start of the server; it ends with the server, however that ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import json
import logging
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from bot.answers.writers import PACKAGES, TunedPart, Writers
from bot.assistant.config import GenerationConfig
from bot.settings import Settings, environment

log = logging.getLogger("kefu.tuning")

NEEDED = {
    "torch": "train",
    "transformers": "train",
    "onnx": "train",
    "peft": "train",
    "gguf": "train",
    "xllamacpp": "generate",
}
"""Package → the extra of Kefu that has it."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
LOOKS_EVERY_S = 5.0
"""How often one that waits for another process of this home looks whether that has ended."""
LOGGED_EVERY_S = 60.0
ENDED = 143
"""Status of a training that was told to end."""
ENDS_WITHIN_S = 5.0
"""It removes what is half done; then it is killed."""
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class TuningState:
    """What /readyz says.

    Attributes:
        state: "waiting" for another process of this home; "impossible": packages are missing.
        parts: what had to be trained.
        step, done, total: where it is; `total` 0 where that is not known.
        problem: why it failed, or is impossible, and what to do.
    """

    state: Literal["waiting", "running", "done", "failed", "impossible", "stopped"]
    parts: Sequence[TunedPart] = ()
    step: str = ""
    done: int = 0
    total: int = 0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """What is empty is left out."""
        return {name: value for name, value in asdict(self).items() if value}


class BackgroundTuning:
    """Trains what `writers` lack, once. `run` it as a task; cancelled, it ends the process that trains.

    Args:
        root: the assistant's folder.
        command: starts the process; the folder and the parts come after it.
        needed: packages without which there is no training, and their extras.
    """

    def __init__(
        self, settings: Settings, root: Path, writers: Writers, *,
        command: Sequence[str] | None = None, needed: Mapping[str, str] = NEEDED,
    ) -> None:  # fmt: skip
        self._home, self._root, self._writers, self._needed = settings.home, root, writers, needed
        # -P: the folder it is started in may be an assistant's, whose `bot/` is another.
        self._command = [*(command or (sys.executable, "-P", "-m", "bot.tuning_process"))]
        self._state: TuningState | None = None
        self._logged_at = 0.0

    @property
    def state(self) -> TuningState | None:
        """None where nothing had to be trained."""
        return self._state

    async def run(self) -> None:
        """Until it is done, has failed, or is not possible; never raises for what the training does."""
        parts: Sequence[TunedPart] = ()
        try:
            parts = await asyncio.to_thread(self._writers.untrained)
            if not parts or self._is_impossible(parts):
                return
            with await self._alone(parts) as lock:
                parts = await asyncio.to_thread(self._writers.untrained)
                if not parts:  # the process that was waited for did it
                    self._state = TuningState(state="done")
                    return
                await self._train(parts, lock)
        except OSError as error:
            self._failed(parts, str(error))

    def _is_impossible(self, parts: Sequence[TunedPart]) -> bool:
        # A server that words answers needs only the judge here.
        needed = self._needed if "writer" in parts else {k: v for k, v in self._needed.items() if k in _OF_THE_JUDGE}
        if self._writers.config.base != GenerationConfig.base:  # another may be served otherwise; its training says so
            needed = {k: v for k, v in needed.items() if k not in PACKAGES["llama.cpp"]}
        missing = {name: extra for name, extra in needed.items() if importlib.util.find_spec(name) is None}
        if not missing:
            return False
        extras = ",".join(sorted(set(missing.values())))
        problem = (
            f"answers are quoted, for {' and '.join(parts)} cannot be trained without {', '.join(missing)}: "
            f"pip install 'kefu[{extras}]'"
        )
        self._state = TuningState(state="impossible", parts=parts, problem=problem)
        log.warning("tuning.impossible", extra={"problem": problem})
        return True

    async def _alone(self, parts: Sequence[TunedPart]) -> TextIO:
        """The home's lock, once nobody else holds it."""
        self._home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as closing:
            lock = closing.enter_context((self._home / "tuning.lock").open("w"))
            while not _is_taken(lock):
                if self._state is None:
                    self._state = TuningState(state="waiting", parts=parts)
                    log.info("tuning.waits", extra={"parts": parts})
                await asyncio.sleep(LOOKS_EVERY_S)
            closing.pop_all()  # taken: it is the caller's to close
            return lock

    async def _train(self, parts: Sequence[TunedPart], lock: TextIO) -> None:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *self._command, str(self._root), *parts,
            env={**environment(), **ONE_THREAD, "KEFU_HOME": str(self._home)},
            stdin=asyncio.subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),  # held until the training has ended, also where this process was killed
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends it
            limit=LONGEST_LINE,
        )  # fmt: skip
        self._state, self._logged_at = TuningState(state="running", parts=parts), began
        log.info("tuning.began", extra={"parts": parts, "pid": process.pid})
        problem = ""
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                problem = self._heard(json.loads(line)) or problem
            status = await process.wait()
        except asyncio.CancelledError:
            self._state = TuningState(state="stopped", parts=parts)
            log.info("tuning.stopped", extra={"parts": parts})
            raise
        except (ValueError, KeyError, TypeError) as error:
            status, problem = 1, f"it said what nobody understands: {error}"
        finally:
            await _ended(process)
        if status in (ENDED, -signal.SIGTERM):  # somebody stops all of the service's processes at once
            self._state = TuningState(state="stopped", parts=parts)
            log.info("tuning.stopped", extra={"parts": parts})
            return
        if status:
            self._failed(parts, problem or f"it ended with {status}" + (": too little memory?" if status < 0 else ""))
            return
        self._state = TuningState(state="done", parts=parts)
        log.info("tuning.done", extra={"parts": parts, "took_s": round(time.monotonic() - began, 1)})

    def _heard(self, said: Mapping[str, Any]) -> str:
        """One line of the process: how far it is, what came of a part, a note; or why it fails, which is returned."""
        if "problem" in said:
            return str(said["problem"])
        if "step" in said:
            assert self._state is not None
            self._state = replace(self._state, step=said["step"], done=said["done"], total=said["total"])
            if time.monotonic() - self._logged_at >= LOGGED_EVERY_S:
                self._logged_at = time.monotonic()
                log.info("tuning.progress", extra=dict(said))
        elif "note" in said:
            log.info("tuning.note", extra={"note": said["note"]})
        else:
            log.info("tuning.learned", extra=dict(said))
        return ""

    def _failed(self, parts: Sequence[TunedPart], problem: str) -> None:
        try:
            left = self._writers.untrained() or parts
        except OSError:
            left = parts
        chosen = " ".join(f"--only {part}" for part in left)
        again = f"kefu knowledge tune {chosen} --assistant {shlex.quote(str(self._root))}"
        problem = f"{problem} (answers are quoted; to try again: {again}, or start the server anew)"
        self._state = TuningState(state="failed", parts=parts, problem=problem)
        log.error("tuning.failed", extra={"parts": parts, "problem": problem})


_OF_THE_JUDGE = frozenset({"torch", "transformers", "onnx"})


def _is_taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Let it remove what is half done; kill it where it does not end."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
