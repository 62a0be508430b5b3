"""Fixtures of the whole suite: a trained starter and real serving processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bot.storage.database import Database
from tests.postgres import PostgresServer, binaries_with_pgvector, find_binaries, forget_rows, new_postgres
from tests.server import STARTER, TEST_HOME, Server, kefu, private_home

REPOSITORY = Path(__file__).parent.parent
TEST_DATABASE = os.environ.get("KEFU_TEST_DATABASE", "sqlite")
"""What integration tests store in: "sqlite" (a file in each KEFU_HOME) or "postgresql" (see `own_database`)."""

# A busy machine makes inputs slowly and runs them slowly; neither says anything about the code under test.
settings.register_profile("kefu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kefu")


@pytest.fixture(scope="session")
def starter_home() -> Path:
    """A KEFU_HOME with the starter trained by the real command; kept between runs, so that nothing is trained twice."""
    home = TEST_HOME
    home.mkdir(parents=True, exist_ok=True)
    with (home / "tests.lock").open("w") as lock:  # `pytest -n 2` has two sessions: one trains, the other finds it
        fcntl.flock(lock, fcntl.LOCK_EX)
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


@pytest.fixture(scope="session")
def pgvector_server() -> Iterator[PostgresServer]:
    """Another one, which has the extension; Debian's has not."""
    with tempfile.TemporaryDirectory(prefix="kefu-pgvector-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(binaries_with_pgvector(Path(folder)))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def pgvector_url(pgvector_server: PostgresServer) -> str:
    """The URL of a new, migrated database."""
    url = new_postgres(pgvector_server)
    database = Database.open(url)
    database.upgrade()
    database.dispose()
    return url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The URL of a migrated database that the tests use one after the other, emptied before each."""
    url = new_postgres(postgres_server)
    database = Database.open(url)
    database.upgrade()
    database.dispose()
    return url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if TEST_DATABASE not in ("sqlite", "postgresql"):
        raise pytest.UsageError(f"KEFU_TEST_DATABASE={TEST_DATABASE}: sqlite or postgresql")
    for item in items if TEST_DATABASE == "postgresql" else ():
        for mark in item.iter_markers("sqlite"):
            item.add_marker(pytest.mark.skip(reason=f"about SQLite: {mark.args[0]}"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_databases") and TEST_DATABASE == "sqlite":
        postgresql = pytest.param("postgresql", marks=pytest.mark.postgres)
        about_sqlite = metafunc.definition.get_closest_marker("sqlite")
        metafunc.parametrize("own_database", ["sqlite"] if about_sqlite else ["sqlite", postgresql], indirect=True)


@pytest.fixture(autouse=True)
def own_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a KEFU_HOME of this test stores in where the test names nothing: its own file, or PostgreSQL, emptied.

    KEFU_DATABASE_URL names the latter, so that the processes that the test starts have it too. Tests whose module says
    `both_databases` run once with each; with KEFU_TEST_DATABASE=postgresql all integration tests run with PostgreSQL.
    """
    is_integration = Path(str(request.path)).parent.name == "integration"
    kind = getattr(request, "param", TEST_DATABASE if is_integration else "sqlite")
    if kind == "sqlite":
        return
    url: str = request.getfixturevalue("migrated_postgres")
    forget_rows(url)
    monkeypatch.setenv("KEFU_DATABASE_URL", url)
