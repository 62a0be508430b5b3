"""`POST /model/train`: one YAML document in, a trained version out, made by `kefu train` in a process of its own.

The document alone is learned from: no reviewed labels, no database. Invariant: what serves is not touched; a version
comes to serve by `PUT /model` alone. One training at a time, because it takes the processor from who is talking.
"""

from __future__ import annotations

import asyncio
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from bot.assistant.loader import load_assistant
from bot.dialogue.policies import check_dialogue
from bot.errors import AssistantError
from bot.rasa.http_requests import ApiError
from bot.settings import Settings, environment
from models.base import KIND
from models.registry import Registry

_SCRATCH = ".api-training-"
_CONFIG_KEYS = frozenset({"version", "language", "recipe", "pipeline", "policies", "assistant_id"})
_DATA_KEYS = frozenset({"nlu", "rules", "stories"})
_HELP = "/training-data-format"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """`archive` is the version's folder as .tar.gz, open at its beginning; it has no name and ends with its closing."""

    version: str
    archive: IO[bytes]
    size: int


class Trainer:
    """The trainings that this process has begun. `active_count` is what `/status` tells."""

    def __init__(self, settings: Settings, assistant_id: str) -> None:
        self._settings, self._assistant_id = settings, assistant_id
        self.active_count = 0

    async def train(self, document: str, *, keep: bool) -> Trained:
        """Learn from Rasa's training data (domain, nlu, stories, rules and config in one document).

        Args:
            keep: file the version among those of the served assistant, so that `PUT /model` can name it.
        Raises:
            ApiError: 400 where the document cannot be learned from (with its line), 409 while another training runs,
                500 where the training failed.
        """
        if self.active_count:
            raise ApiError(
                409,
                "Conflict",
                "Another training runs already; GET /status says when it is done (num_active_training_jobs).",
                retry_after_s=30.0,
            )
        self.active_count += 1
        try:
            self._settings.home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._settings.home, prefix=_SCRATCH) as scratch:
                return await self._train(document, Path(scratch), keep=keep)
        finally:
            self.active_count -= 1

    async def _train(self, document: str, scratch: Path, *, keep: bool) -> Trained:
        project, home = scratch / "project", scratch / "home"
        await asyncio.to_thread(_write_project, document, project, self._assistant_id)
        await asyncio.to_thread(_check, project)
        home.mkdir()
        if self._settings.bases_dir.is_dir():
            (home / "bases").symlink_to(self._settings.bases_dir.absolute())  # weights are not fetched twice
        await self._run(project, home)
        registry = Registry(home / "models", self._assistant_id)
        versions = registry.versions(KIND)
        if not versions:
            raise _failed("Ran training, but it finished without a trained model.")
        folder = registry.path(KIND, versions[-1])
        trained = await asyncio.to_thread(_pack, folder)
        if keep:
            served = Registry(self._settings.models_dir, self._assistant_id)
            await asyncio.to_thread(served.add, KIND, folder)
        return trained

    async def _run(self, project: Path, home: Path) -> None:
        """`kefu train`, with nothing of the serving process's database."""
        variables = {name: value for name, value in environment().items() if name != "KEFU_DATABASE_URL"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot.cli", "train", str(project)),
            env={**variables, "KEFU_HOME": str(home)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:  # the request was cancelled: nobody waits for the result
                process.kill()
        if process.returncode:
            reason = said.decode(errors="replace").rpartition("kefu:")[2].strip()[-1_000:]
            raise _failed(f"An unexpected error occurred during training. Error: {reason}")


def _failed(message: str) -> ApiError:
    return ApiError(500, "TrainingError", message)


def _write_project(document: str, project: Path, assistant_id: str) -> None:
    """The document's sections in the files where a project has them, data on the document's own lines."""
    content = _parsed(document)
    (project / "data").mkdir(parents=True)
    data = {key for key in content if key in _DATA_KEYS}
    domain = {key for key in content if key not in _DATA_KEYS and key not in _CONFIG_KEYS}
    (project / "data" / "data.yml").write_text(_only(document, content, data), encoding="utf-8")
    (project / "domain.yml").write_text(_only(document, content, domain), encoding="utf-8")
    config = {key: content[key] for key in _CONFIG_KEYS if key in content}
    (project / "config.yml").write_text(_dumped({**config, "assistant_id": assistant_id}), encoding="utf-8")


def _parsed(document: str) -> CommentedMap:
    try:
        content = YAML(typ="rt", pure=True).load(document)
    except (YAMLError, ValueError) as error:
        raise _invalid(f"The request body does not contain valid YAML. Error: {error}") from error
    if not isinstance(content, CommentedMap):
        raise _invalid("The request body does not contain valid YAML. Error: the top level must be a map of sections")
    return content


def _only(document: str, content: CommentedMap, keys: set[str]) -> str:
    """These sections, every line where it was: the others are left blank, so that a problem's line is the document's.

    A document that is not written section by section (JSON, say) is written anew.
    """
    begins = {key: content.lc.key(key)[0] for key in content}
    lines = document.splitlines()
    places = [*begins.values(), len(lines)]
    if any(later <= earlier for earlier, later in pairwise(places)):
        return _dumped({key: content[key] for key in content if key in keys})
    kept = [""] * len(lines)
    for key, (begin, end) in zip(begins, pairwise(places), strict=True):
        if key in keys:
            kept[begin:end] = lines[begin:end]
    return "\n".join(kept) + "\n"


def _dumped(content: dict[str, Any]) -> str:
    stream = StringIO()
    YAML().dump(content, stream)
    return stream.getvalue()


def _check(project: Path) -> None:
    try:
        problems = check_dialogue(load_assistant(project, {}))
        errors = [problem for problem in problems if problem.level == "error"]
        if errors:
            raise errors[0].as_error()
    except AssistantError as error:
        said = str(error).replace(f"{project}/data/", "").replace(f"{project}/", "")
        is_domain = error.where is not None and error.where.file.name == "domain.yml"
        if is_domain:
            raise ApiError(400, "InvalidDomainError", f"Provided domain file is invalid. Error: {said}") from error
        raise _invalid(f"The request body cannot be learned from. Error: {said}") from error


def _invalid(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message, help_path=_HELP)


def _pack(folder: Path) -> Trained:
    archive = tempfile.TemporaryFile(dir=folder.parent)  # noqa: SIM115  whoever sends it closes it
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as packed:  # weights hardly shrink at any level
        packed.add(folder, arcname=folder.name)
    size = archive.tell()
    archive.seek(0)
    return Trained(version=folder.name, archive=archive, size=size)
