"""A version folder's manifest: written once, read and verified before anything in the folder is trusted.

Where versions live and which one serves is `registry.py`'s; what the files mean is `understanding.py`'s.
Invariant: a folder that passes `verify` holds exactly the bytes that were there when it was trained.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from models.base import ArtifactInvalid, Manifest, Probe

MANIFEST = "manifest.json"
SCHEMA = 1


def sha256_file(path: Path) -> str:
    """The file's SHA-256 as hex, read in pieces so that a large encoder does not pass through memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def link_file(source: Path, target: Path) -> None:
    """Let `target` be the same file, or a copy where the file system cannot; what was there before is replaced."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def version_id(created: datetime, fingerprint: str) -> str:
    """Name a version `20261123T164000-ab12cd34`: sorts by time, and shows at a glance what was trained twice."""
    return f"{created:%Y%m%dT%H%M%S}-{fingerprint[:8]}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` durably; the last file of a folder, so that its presence means the rest is there."""
    write_whole(folder / MANIFEST, json.dumps(dataclasses.asdict(manifest), ensure_ascii=False, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Let the file hold this text, durably and at once: who reads it meanwhile, or after a crash, finds the old one or
    the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`; raises ArtifactInvalid naming the file and the field that is wrong."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactInvalid(
            f"{path}: cannot be read ({error}); train again or roll back to another version"
        ) from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise ArtifactInvalid(f"{path}: schema {found!r}, this program reads schema {SCHEMA}; train again")
    try:
        return _from_json(raw)
    except (TypeError, KeyError, ValueError) as error:
        raise ArtifactInvalid(
            f"{path}: not a manifest ({error}); train again or roll back to another version"
        ) from error


def _from_json(raw: Mapping[str, Any]) -> Manifest:
    # Unknown keys are dropped, so that a later release may add one without orphaning older programs.
    known = {field.name for field in dataclasses.fields(Manifest)}
    values: dict[str, Any] = {key: value for key, value in raw.items() if key in known}
    for name in ("languages", "intents", "sentiments"):
        values[name] = tuple(str(item) for item in raw[name])
    values["probes"] = tuple(Probe(**probe) for probe in raw["probes"])
    values["temperature"] = float(raw["temperature"])
    values["thresholds"] = {str(key): float(value) for key, value in raw["thresholds"].items()}
    return Manifest(**values)


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its hash; raises ArtifactInvalid naming the first that is missing or altered."""
    if not manifest.files:
        raise ArtifactInvalid(f"{folder / MANIFEST}: lists no files; train again")
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name:
            raise ArtifactInvalid(f"{folder / MANIFEST}: file name {name!r} leaves the folder; do not use this version")
        if not path.is_file():
            raise ArtifactInvalid(f"{path}: missing; train again or roll back to another version")
        if sha256_file(path) != expected:
            raise ArtifactInvalid(f"{path}: altered since it was trained; train again or roll back to another version")
