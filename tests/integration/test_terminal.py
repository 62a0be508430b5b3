"""`kefu chat` in a real terminal, over a model that is trained in a second."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.learning import SMALL_SHOP, write_assistant
from tests.server import kefu

WITHIN_S = 60
GREETING = "Hello! [/sale] [bold]half[/] price :smile:"
CARD = "{type: card, title: A lamp, subtitle: On sale, buttons: [{title: See it, payload: hello again}]}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KEFU_HOME beside `shop`, an assistant that says what looks like markup."""
    folder = tmp_path_factory.mktemp("chat")
    domain = SMALL_SHOP["domain.yml"].replace("{text: Hello!}", f'{{text: "{GREETING}", custom: {CARD}}}')
    write_assistant(folder / "shop", SMALL_SHOP | {"domain.yml": domain})
    kefu("train", str(folder / "shop"), home=folder / "home")
    return folder / "home"


class Terminal:
    """One `kefu chat` whose terminal the test is."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self.screen = screen
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Read until `text` was shown since the last call."""
        begin = len(self.shown)
        deadline = time.monotonic() + WITHIN_S
        while text not in self.shown[begin:]:
            left = deadline - time.monotonic()
            assert left > 0, f"never showed {text!r}: {self.shown}"
            if select.select([self.screen], [], [], left)[0]:
                self.shown += os.read(self.screen, 65536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())


@contextmanager
def chat(home: Path, *options: str) -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    # Of a suite in the background of a shell the children would inherit that Ctrl-C is ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "chat", str(home.parent / "shop"), *options],
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        env={**os.environ, "KEFU_HOME": str(home), "COLUMNS": "200", "TERM": "xterm"},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, inherited)
    os.close(keyboard)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def test_a_card_is_shown_as_text_and_its_button_by_number(home: Path) -> None:
    with chat(home) as terminal:
        terminal.read_until("you>")
        terminal.type("hello\n")
        terminal.read_until("See it")
        assert "A lamp" in terminal.shown


def test_a_conversation_shows_what_the_bot_says_as_it_is(home: Path) -> None:
    with chat(home, "--debug") as terminal:
        terminal.read_until("you> ")
        terminal.type("hello everybody\n")
        terminal.read_until("utter_greet")
        assert GREETING in terminal.shown
        terminal.type("/quit\n")
        assert terminal.process.wait(WITHIN_S) == 0


def test_ctrl_c_ends_while_it_waits_for_a_line(home: Path) -> None:
    with chat(home) as terminal:
        terminal.read_until("you> ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(WITHIN_S) == 0
        assert "Traceback" not in terminal.shown


def test_lines_from_a_pipe_are_answered_to_the_last(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot.cli", "chat", str(home.parent / "shop")],
        input="hello everybody\n/goodbye",
        env={**os.environ, "KEFU_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert GREETING in done.stdout
    assert "Bye!" in done.stdout
