"""Where several machines share what was read from the documents: what making an index and searching in it ask of that
place. `bot.storage.passages` is one, on PostgreSQL.

The folder stays where an index is made: `pull` brings there what is shared, `kefu knowledge sync` makes the next one,
`push` shares it. Who only serves searches in the shared one and keeps nothing but the encoders.

Invariant: what `current` names is complete and never changes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bot.answers.index_files import JUDGE
from bot.answers.knowledge import PassageIndex

TUNED = "TUNED"
"""A file beside the indexes: the base that was tuned, and the name of what came of it."""
MARKS = (JUDGE, TUNED)
"""Those files that say how the next index is made; the shared place holds them too."""


class SharedIndex(Protocol):
    """Of one assistant. Thread-safe."""

    def current(self) -> str | None:
        """The name of the index that counts; another one as soon as `push` has ended."""
        ...

    def opened(self, store: Path) -> PassageIndex | None:
        """The current index, once the encoders that it needs lie in the folder; None where there is none yet.

        Raises:
            ArtifactInvalid: another version of this program made it.
        """
        ...

    def only_writer(self) -> AbstractContextManager[None]:
        """Alone among all machines: who syncs or tunes beside another waits.

        Raises:
            ConfigurationError: this place cannot hold an index; says what to do.
        """
        ...

    def pull(self, store: Path) -> None:
        """Bring index, encoders and marks into the folder, where they are not; by `only_writer`."""
        ...

    def push(self, store: Path) -> None:
        """Share the folder's current index, its encoders and marks, whole or not at all; by `only_writer`. Only what
        is not there already travels."""
        ...

    def keep(self, store: Path, mark: str, value: str) -> None:
        """Set a mark here and there."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
