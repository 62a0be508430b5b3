"""`python -m bot.tuning_process ASSISTANT PART…`: `kefu knowledge tune`, for `bot.background_tuning`.

Says in JSON lines on its standard output how far it is. Runs until its standard input closes: it never outlives the
server that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from bot.answers.writers import TunedPart
from bot.background_tuning import ENDED

LOWEST_PRIORITY = 19
SAID_EVERY_S = 1.0
TIDIES_WITHIN_S = 4.0
LONGEST_NOTE = 1_000
ABANDONED_AFTER_S = 12 * 3_600

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assistant", type=Path)
    parser.add_argument("parts", nargs="+", choices=("judge", "writer"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _left)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    os.nice(LOWEST_PRIORITY)
    try:
        status = 0 if _told(arguments.assistant, arguments.parts) else 1
    except SystemExit:
        status = ENDED  # what was half made is removed by now
    # At this priority, on a machine at work, the interpreter takes minutes to tidy up after itself.
    os._exit(status)


def _told(root: Path, parts: list[TunedPart]) -> bool:
    """Train, and say how far it is and what is wrong; whether all was learned."""
    # Whatever a library prints must not come among our lines.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    from bot.errors import KefuError
    from bot.telemetry import describe_error
    from models.base import ModelError

    try:
        _tune(root, parts, told)
    except (KefuError, ModelError, OSError) as error:
        _say(told, {"problem": str(error)})
    except Exception as error:  # noqa: BLE001  whatever a library raises, the server's log says it
        _say(told, {"problem": describe_error(error)})
    else:
        return True
    return False


def _tune(root: Path, parts: list[TunedPart], told: TextIO) -> None:
    from bot.assistant.loader import load_assistant
    from bot.settings import environment, load_settings
    from bot.tuning import JudgeOutcome, WriterOutcome, tune_judge, tune_writer

    settings, assistant = load_settings(threads=1), load_assistant(root, environment())
    forget_half_made(settings.knowledge_dir(assistant.assistant_id))
    progress, say = _progress(told), lambda text: _say(told, {"note": text[:LONGEST_NOTE]})
    for part in parts:
        outcome: JudgeOutcome | WriterOutcome
        if part == "judge":
            outcome = tune_judge(settings, assistant, progress, say)
            found: dict[str, Any] = {"judges_the_search": outcome.is_kept, "stopped": dict(outcome.stopped)}
        else:
            outcome = tune_writer(settings, assistant, progress, say)
            found = {"loss_before": outcome.loss_before, "loss_after": outcome.loss_after}
        _say(told, {"part": part, "trained_on": outcome.trained_on, **found})


def forget_half_made(store: Path) -> None:
    """What a training left that was ended amid a long step; one that still runs is younger."""
    for pattern in (".judge-*", ".writer-*"):
        for folder in store.glob(pattern):
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)


def _progress(told: TextIO) -> Progress:
    """Seldom enough to be read, and at each beginning of a step."""
    last: dict[str, Any] = {"step": None, "at": 0.0}

    def report(step: str, done: int, total: int) -> None:
        if step == last["step"] and time.monotonic() - last["at"] < SAID_EVERY_S:
            return
        last.update(step=step, at=time.monotonic())
        _say(told, {"step": step, "done": done, "total": total})

    return report


def _say(told: TextIO, line: Mapping[str, Any]) -> None:
    print(json.dumps(line), file=told, flush=True)


def _end_with_stdin() -> None:
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(TIDIES_WITHIN_S)
    os._exit(ENDED)


def _left(_: int, __: FrameType | None) -> NoReturn:
    """On the main thread, so that half-made folders are removed."""
    sys.exit(1)


if __name__ == "__main__":
    main()
