"""What the measurements serve: the starter, trained by the real command, in a KEFU_HOME of their own on a real disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.report import REPOSITORY
from tests.server import STARTER, TEST_HOME, Server, kefu, private_home


def trained_home() -> Path:
    """The KEFU_HOME that the tests use too; trained where it is not, else at once."""
    kefu("train", str(STARTER), home=TEST_HOME, timeout=900)
    return TEST_HOME


@contextmanager
def fresh_home() -> Iterator[Path]:
    """The trained versions and an empty database.

    Not under /tmp, which may be memory: a durable write has to reach a disk, or its figure means nothing.
    """
    trained = trained_home()
    parent = REPOSITORY / ".kefu" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield private_home(trained, Path(folder))


@contextmanager
def starter(generation: str | None) -> Iterator[Path]:
    """The starter; where `generation` is given, a copy of it with that in its kefu.yml."""
    if generation is None:
        yield STARTER
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "starter"
        shutil.copytree(STARTER, copy)
        with (copy / "kefu.yml").open("a", encoding="utf-8") as file:
            file.write(f"\ngeneration: {generation}\n")
        yield copy


@contextmanager
def serving(home: Path, *args: str, assistant: Path = STARTER, **env: str) -> Iterator[Server]:
    """A real `kefu serve` over that home, ready; killed at the end."""
    server = Server(home=home, assistant=assistant, args=args, env=env)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
