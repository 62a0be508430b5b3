"""Version folders: filed whole, promoted atomically, rolled back one by one, refused when damaged."""

from __future__ import annotations

import fcntl
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.artifact import MANIFEST, read_manifest, sha256_file, verify, version_id, write_manifest
from models.base import ArtifactInvalid, Manifest, ModelUnavailable, Probe
from models.registry import LOCK, CurrentMoved, Registry

KIND = "understanding"


def make_version(folder: Path, number: int, assistant: str = "shop") -> str:
    """A folder with one file and its manifest; what a version of any kind looks like to the registry."""
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes([number]) * 100)
    stamp = f"{number:08x}" + "0" * 56
    version = version_id(datetime(2026, 11, 23, 16, 40, number, tzinfo=UTC), stamp)
    manifest = Manifest(
        version=version,
        kind=KIND,
        assistant_id=assistant,
        created_at="2026-11-23T16:40:00+00:00",
        base="ngram",
        base_source="ngram",
        base_sha256="",
        recipe="quick",
        fingerprint=stamp,
        data_sha256="0" * 64,
        languages=("en", "zh"),
        intents=("greet", "order_status"),
        sentiments=(),
        temperature=0.7,
        thresholds={"out_of_scope": 1.5},
        metrics={"accuracy": 0.9},
        training={"examples": 4},
        probes=(Probe(text="你好", intent="greet", confidence=0.9, sentiment="neutral"),),
        files={"weights.bin": sha256_file(folder / "weights.bin")},
    )
    write_manifest(folder, manifest)
    return version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", "shop")


def filed(registry: Registry, tmp_path: Path, count: int) -> list[str]:
    versions = []
    for number in range(1, count + 1):
        make_version(tmp_path / f"made-{number}", number)
        versions.append(registry.add(KIND, tmp_path / f"made-{number}"))
    return versions


def test_version_id_sorts_by_time_and_shows_the_fingerprint() -> None:
    assert version_id(datetime(2026, 11, 23, 16, 40, 0, tzinfo=UTC), "ab12cd34ef") == "20261123T164000-ab12cd34"


def test_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    make_version(tmp_path / "v", 1)
    manifest = read_manifest(tmp_path / "v")
    assert manifest.probes == (Probe(text="你好", intent="greet", confidence=0.9, sentiment="neutral"),)
    assert manifest.intents == ("greet", "order_status")
    write_manifest(tmp_path / "v", manifest)
    assert read_manifest(tmp_path / "v") == manifest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2"),
        ({"temperature": "warm"}, "warm"),
        ({"probes": [{"text": "hi"}]}, "not a manifest"),
    ],
)
def test_manifest_of_another_shape_is_refused_with_its_file(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    make_version(tmp_path / "v", 1)
    path = tmp_path / "v" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtifactInvalid, match=said) as caught:
        read_manifest(tmp_path / "v")
    assert str(path) in str(caught.value)


def test_manifest_with_a_key_of_a_later_release_is_read(tmp_path: Path) -> None:
    make_version(tmp_path / "v", 1)
    path = tmp_path / "v" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    assert read_manifest(tmp_path / "v").recipe == "quick"


def test_verify_names_what_was_altered_or_is_missing(tmp_path: Path) -> None:
    make_version(tmp_path / "v", 1)
    manifest = read_manifest(tmp_path / "v")
    verify(tmp_path / "v", manifest)
    (tmp_path / "v" / "weights.bin").write_bytes(b"other")
    with pytest.raises(ArtifactInvalid, match=r"weights\.bin: altered"):
        verify(tmp_path / "v", manifest)
    (tmp_path / "v" / "weights.bin").unlink()
    with pytest.raises(ArtifactInvalid, match=r"weights\.bin: missing"):
        verify(tmp_path / "v", manifest)


def test_verify_refuses_a_file_name_that_leaves_the_folder(tmp_path: Path) -> None:
    make_version(tmp_path / "v", 1)
    (tmp_path / "outside").write_bytes(b"x")
    path = tmp_path / "v" / MANIFEST
    raw = json.loads(path.read_text())
    raw["files"]["../outside"] = sha256_file(tmp_path / "outside")
    path.write_text(json.dumps(raw))
    with pytest.raises(ArtifactInvalid, match="leaves the folder"):
        verify(tmp_path / "v", read_manifest(tmp_path / "v"))


def test_a_filed_version_serves_only_when_promoted(registry: Registry, tmp_path: Path) -> None:
    (version,) = filed(registry, tmp_path, 1)
    assert registry.versions(KIND) == [version]
    assert registry.current(KIND) is None
    registry.promote(KIND, version)
    assert registry.current(KIND) == version
    assert registry.manifest(KIND, version).version == version
    assert not (tmp_path / "made-1").exists()


def test_promotion_replaces_current_by_renaming(registry: Registry, tmp_path: Path) -> None:
    first, second = filed(registry, tmp_path, 2)
    registry.promote(KIND, first)
    inode = registry.current_file(KIND).stat().st_ino
    registry.promote(KIND, second)
    assert registry.current_file(KIND).stat().st_ino != inode
    assert [(c.action, c.version, c.replaced) for c in registry.history(KIND)] == [
        ("promote", first, None),
        ("promote", second, first),
    ]


def test_rollback_goes_back_one_by_one_and_then_says_there_is_nothing(registry: Registry, tmp_path: Path) -> None:
    first, second, third = filed(registry, tmp_path, 3)
    for version in (first, second, third):
        registry.promote(KIND, version)
    assert registry.rollback(KIND) == second
    assert registry.rollback(KIND) == first
    assert registry.current(KIND) == first
    with pytest.raises(ModelUnavailable, match="no earlier"):
        registry.rollback(KIND)


def test_rollback_after_a_crash_between_history_and_current(registry: Registry, tmp_path: Path) -> None:
    first, second, third = filed(registry, tmp_path, 3)
    registry.promote(KIND, first)
    registry.promote(KIND, second)
    lost = {"at": "2026-11-23T17:00:00+00:00", "action": "promote", "version": third, "replaced": second}
    with (registry.current_file(KIND).parent / "history.jsonl").open("a") as stream:
        stream.write(json.dumps(lost) + '\n{"at": "2026')
    assert registry.rollback(KIND) == first
    assert registry.history(KIND)[-1].version == first


def test_a_promotion_that_compared_with_another_version_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    one, two, three = filed(registry, tmp_path, 3)
    registry.promote(KIND, one, expected=None)
    registry.promote(KIND, two, expected=one)
    before = registry.history(KIND)
    for stale in (one, None):
        with pytest.raises(CurrentMoved, match=two):
            registry.promote(KIND, three, expected=stale)
    assert (registry.current(KIND), registry.history(KIND)) == (two, before)
    registry.promote(KIND, three)
    assert registry.current(KIND) == three


def test_of_many_promotions_that_compared_with_the_same_version_one_wins(registry: Registry, tmp_path: Path) -> None:
    first, *others = filed(registry, tmp_path, 9)
    registry.promote(KIND, first)

    def promote(version: str) -> bool:
        try:
            Registry(tmp_path / "models", "shop").promote(KIND, version, expected=first)
        except CurrentMoved:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(promote, others))
    assert sum(won) == 1
    assert registry.current(KIND) == others[won.index(True)]
    assert len(registry.history(KIND)) == 2


@pytest.mark.parametrize("switch", ["promote", "rollback"])
def test_a_switch_waits_for_the_one_that_runs(registry: Registry, tmp_path: Path, switch: str) -> None:
    one, two = filed(registry, tmp_path, 2)
    registry.promote(KIND, one)
    registry.promote(KIND, two)
    with (registry.root / KIND / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = Registry(tmp_path / "models", "shop")
        work = (lambda: other.promote(KIND, one)) if switch == "promote" else (lambda: other.rollback(KIND))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.2)
        assert (thread.is_alive(), registry.current(KIND)) == (True, two)
    thread.join(10)
    assert registry.current(KIND) == one


def test_promoting_repairs_a_garbled_current(registry: Registry, tmp_path: Path) -> None:
    (only,) = filed(registry, tmp_path, 1)
    registry.current_file(KIND).write_text("../../etc\n", encoding="utf-8")
    registry.promote(KIND, only, expected=None)
    assert registry.current(KIND) == only


def test_a_damaged_version_is_never_promoted(registry: Registry, tmp_path: Path) -> None:
    first, second = filed(registry, tmp_path, 2)
    registry.promote(KIND, first)
    (registry.path(KIND, second) / "weights.bin").write_bytes(b"rotten")
    with pytest.raises(ArtifactInvalid, match="altered"):
        registry.promote(KIND, second)
    assert registry.current(KIND) == first
    assert len(registry.history(KIND)) == 1


def test_unknown_and_foreign_versions_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="models list"):
        registry.promote(KIND, "20261123T164000-00000001")
    with pytest.raises(ModelUnavailable):
        registry.path(KIND, "../../etc")
    make_version(tmp_path / "foreign", 9, assistant="another")
    with pytest.raises(ArtifactInvalid, match="another"):
        registry.add(KIND, tmp_path / "foreign")
    assert (tmp_path / "foreign").is_dir()


def test_the_same_version_is_not_filed_twice(registry: Registry, tmp_path: Path) -> None:
    filed(registry, tmp_path, 1)
    make_version(tmp_path / "again", 1)
    with pytest.raises(ArtifactInvalid, match="exists already"):
        registry.add(KIND, tmp_path / "again")


def test_find_returns_the_newest_of_a_fingerprint(registry: Registry, tmp_path: Path) -> None:
    first, second = filed(registry, tmp_path, 2)
    assert registry.find(KIND, registry.manifest(KIND, second).fingerprint) == second
    assert registry.find(KIND, registry.manifest(KIND, first).fingerprint) == first
    assert registry.find(KIND, "f" * 64) is None


def test_half_filed_folders_are_no_versions(registry: Registry, tmp_path: Path) -> None:
    (version,) = filed(registry, tmp_path, 1)
    (registry.path(KIND, version).parent / "20261123T170000-00000002").mkdir()
    assert registry.versions(KIND) == [version]


def test_garbage_in_current_is_an_error_and_not_a_path(registry: Registry, tmp_path: Path) -> None:
    filed(registry, tmp_path, 1)
    registry.current_file(KIND).write_text("../../elsewhere\n")
    with pytest.raises(ArtifactInvalid, match="no version"):
        registry.current(KIND)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "shop\n"])
def test_an_assistant_id_that_cannot_name_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="assistant id"):
        Registry(tmp_path, name)
