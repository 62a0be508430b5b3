"""Model versions on disk and which one serves: `<root>/<assistant_id>/<kind>/<version>/`.

Loading a version is `understanding.py`'s, following CURRENT while serving is `runtime.py`'s.
Invariant: CURRENT names a complete version or does not exist; whoever reads it sees the old or the new name, never
half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from models.artifact import MANIFEST, read_manifest, verify, write_whole
from models.base import ArtifactInvalid, Manifest, ModelError, ModelUnavailable

CURRENT = "CURRENT"
HISTORY = "history.jsonl"
LOCK = ".switch.lock"
VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


class Whatever(Enum):
    """The type of WHATEVER, so that None can mean "nothing served"."""

    WHATEVER = "whatever"


WHATEVER: Final = Whatever.WHATEVER


class CurrentMoved(ModelError):
    """Another version was promoted or rolled back to since the caller looked."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the history: which version came to serve, and what it replaced."""

    at: str
    action: Literal["promote", "rollback"]
    version: str
    replaced: str | None


class Registry:
    """The versions of one assistant.

    Args:
        root: the folder of all assistants' models (`KEFU_HOME/models`); made when the first version is added.
    """

    def __init__(self, root: Path, assistant_id: str) -> None:
        if not re.fullmatch(r"[\w.-]+", assistant_id) or assistant_id.startswith("."):
            raise ValueError(
                f"assistant id {assistant_id!r} cannot name a folder: use letters, digits, '-', '_' and '.'"
            )
        self.root = root / assistant_id
        self.assistant_id = assistant_id

    def versions(self, kind: str) -> list[str]:
        """All complete versions, oldest first."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if VERSION.fullmatch(p.name) and (p / MANIFEST).is_file())

    def current(self, kind: str) -> str | None:
        """The version that serves, or None before the first promotion."""
        try:
            name = self.current_file(kind).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        if not VERSION.fullmatch(name):
            raise ArtifactInvalid(f"{self.current_file(kind)}: {name[:40]!r} is no version; promote one")
        return name

    def current_file(self, kind: str) -> Path:
        """The file whose replacement means that another version serves."""
        return self.root / kind / CURRENT

    def path(self, kind: str, version: str) -> Path:
        """The version's folder; raises ModelUnavailable where there is none."""
        folder = self.root / kind / version
        if not VERSION.fullmatch(version) or not (folder / MANIFEST).is_file():
            raise ModelUnavailable(
                f"no {kind} model {version!r} in {self.root / kind}; `kefu models list` shows what there is"
            )
        return folder

    def manifest(self, kind: str, version: str) -> Manifest:
        return read_manifest(self.path(kind, version))

    def find(self, kind: str, fingerprint: str) -> str | None:
        """The newest version trained from exactly this configuration, data and libraries, if any."""
        for version in reversed(self.versions(kind)):
            try:
                if self.manifest(kind, version).fingerprint == fingerprint:
                    return version
            except ArtifactInvalid:
                continue
        return None

    def add(self, kind: str, folder: Path) -> str:
        """File a trained folder under its version; it serves nothing until promoted.

        The folder is moved (copied across file systems). Raises ArtifactInvalid where the version exists already.
        """
        manifest = read_manifest(folder)
        if manifest.kind != kind or manifest.assistant_id != self.assistant_id:
            raise ArtifactInvalid(
                f"{folder}: a {manifest.kind} model of {manifest.assistant_id!r}; "
                f"this is the registry of {self.assistant_id!r} and was asked for {kind}"
            )
        verify(folder, manifest)
        target = self.root / kind / manifest.version
        if target.exists():
            raise ArtifactInvalid(f"{target}: this version exists already; train again for a new one")
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.parent / f".{manifest.version}.partial"
        shutil.rmtree(staging, ignore_errors=True)
        shutil.move(str(folder), staging)
        _sync_tree(staging)
        staging.rename(target)
        _sync(target.parent)
        return manifest.version

    def promote(self, kind: str, version: str, expected: str | Whatever | None = WHATEVER) -> None:
        """Make a version serve; its files are verified first, so that a damaged one never takes over.

        Args:
            expected: what the caller compared with (None: nothing serves, or CURRENT is unreadable); WHATEVER asks not.
        Raises:
            CurrentMoved: something else than `expected` serves by now; nothing was changed.
        """
        with self._alone(kind):
            serving = self._readable_current(kind)
            if expected is not WHATEVER and serving != expected:
                raise CurrentMoved(f"{kind} {serving or 'none'} serves by now, not {expected or 'none'}")
            self._switch(kind, version, "promote", serving)

    def rollback(self, kind: str) -> str:
        """Serve the version that served before the current one; returns its name.

        A second rollback goes one further back, not forth again. Raises ModelUnavailable where nothing served before.
        """
        with self._alone(kind):
            current = self.current(kind)
            stack = self._stack(kind)
            # A crash between history and CURRENT can leave a promotion on top that never served.
            while current in stack and stack[-1] != current:
                stack.pop()
            for version in reversed(stack):
                if version != current and version in self.versions(kind):
                    self._switch(kind, version, "rollback", current)
                    return version
        raise ModelUnavailable(f"no earlier {kind} model to go back to; `kefu models list` shows what there is")

    def history(self, kind: str) -> list[Change]:
        """Every promotion and rollback, oldest first."""
        path = self.root / kind / HISTORY
        if not path.is_file():
            return []
        changes = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                changes.append(Change(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # half a line, left by a crash: that change never happened
        return changes

    def _stack(self, kind: str) -> list[str]:
        stack: list[str] = []
        for change in self.history(kind):
            if change.action == "promote":
                stack.append(change.version)
            else:
                while stack and stack[-1] != change.version:
                    stack.pop()
        return stack

    @contextmanager
    def _alone(self, kind: str) -> Iterator[None]:
        """Between the look at CURRENT and its replacement no other process replaces it."""
        folder = self.root / kind
        if not folder.is_dir():
            yield  # no version was ever filed: there is nothing to switch to, and the caller says so
            return
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _readable_current(self, kind: str) -> str | None:
        try:
            return self.current(kind)
        except ArtifactInvalid:  # promoting is what repairs it
            return None

    def _switch(self, kind: str, version: str, action: Literal["promote", "rollback"], replaced: str | None) -> None:
        folder = self.path(kind, version)
        verify(folder, read_manifest(folder))
        if replaced == version:
            return
        change = Change(
            at=datetime.now(UTC).isoformat(timespec="seconds"), action=action, version=version, replaced=replaced
        )
        # History first: a crash between the two leaves a line too many, which a rollback passes over, never a missing
        # one.
        with (folder.parent / HISTORY).open("a", encoding="utf-8") as stream:
            # The leading line break parts this line from one that a crash cut short.
            stream.write("\n" + json.dumps(asdict(change)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        write_whole(self.current_file(kind), version + "\n")
        _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)
