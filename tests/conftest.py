"""Fixtures of the whole suite: a trained starter and real serving processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer, find_binaries
from tests.server import STARTER, Server, kefu, private_home

REPOSITORY = Path(__file__).parent.parent

# A busy machine makes inputs slowly and runs them slowly; neither says anything about the code under test.
settings.register_profile("kefu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kefu")


@pytest.fixture(scope="session")
def starter_home() -> Path:
    """A KEFU_HOME with the starter trained by the real command; kept between runs, so that nothing is trained twice."""
    home = Path(os.environ.get("KEFU_TEST_HOME", REPOSITORY / ".kefu" / "test"))
    kefu("train", str(STARTER), home=home, timeout=900)
    return home


@pytest.fixture
def home(starter_home: Path, tmp_path: Path) -> Path:
    """A KEFU_HOME of this test's own, with the trained starter in it."""
    return private_home(starter_home, tmp_path)


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Server]]:
    """`serve(*args, **env)` starts a real `kefu serve`; stopped after the test."""
    started: list[Server] = []

    def start(*args: str, assistant: Path = STARTER, **env: str) -> Server:
        server = Server(home=home, assistant=assistant, args=args, env=env)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        reason = "no PostgreSQL: install the package postgresql (initdb, pg_ctl and postgres are looked for)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.stop()
