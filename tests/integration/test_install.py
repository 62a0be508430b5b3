"""The distribution as its users get it: the wheel in an empty environment, the lock on every supported Python.

Needs a package index (pip's own configuration is used), as `make setup` does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.server import free_port

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
PACKAGES = ("bot", "connectors", "models", "training")
PYTHONS = ("3.11", "3.12", "3.13")


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout_s: float = 400) -> str:
    """What a command printed, both streams; an exit status other than 0 shows it and fails the test."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{printed[-4000:]}"
    return printed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files without what git ignores: a stale `build/` here must not get into the wheel."""
    folder = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=source)
    [built] = folder.glob("kefu-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel and its base dependencies: no training, no PyTorch."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "pip", "install", "-qq", "--no-compile", "-c", LOCK, wheel, cwd=folder)
    return folder / "bin"


class TestWheel:
    def test_holds_every_file_of_the_packages(self, source: Path, wheel: Path) -> None:
        """Whatever a package keeps beside its code is found at run time: starter, widget, migrations, markers."""
        inside = set(zipfile.ZipFile(wheel).namelist())
        wanted = {
            file.relative_to(source).as_posix()
            for package in PACKAGES
            for file in (source / package).rglob("*")
            if file.is_file()
        }
        assert wanted - inside == set()
        for one in (
            "bot/starter/config.yml",
            "bot/starter/.gitignore",
            "bot/starter/actions/products.csv",
            "bot/storage/migrations/env.py",
            "connectors/widget/kefu.js",
            "models/py.typed",
        ):
            assert one in inside

    def test_holds_nothing_else(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0].split("-")[0] for name in names} == {*PACKAGES, "kefu"}
        assert [name for name in names if name.endswith(".pyc") or "__pycache__" in name] == []
        licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
        assert licences == {"LICENSE", "NOTICE"}


class TestInstalled:
    def test_starter_is_made_trained_and_served(self, installed: Path, tmp_path: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEFU_", "PYTHON"))}
        env = {**kept, "KEFU_HOME": str(tmp_path / "home"), "PATH": f"{installed}:{os.environ['PATH']}"}
        assert subprocess.run([installed / "python", "-c", "import torch"], capture_output=True).returncode != 0

        run(installed / "kefu", "init", "shop", cwd=tmp_path, env=env)
        assert (tmp_path / "shop" / "config.yml").exists()
        said = run(installed / "kefu", "train", "shop", cwd=tmp_path, env=env).lower()
        assert "n-gram" in said, said
        assert "kefu[train]" in said, said

        with serving(installed, tmp_path, env) as client:
            assert client.get("/readyz").status_code == 200
            script = client.get("/widget/kefu.js")
            assert script.status_code == 200
            assert "javascript" in script.headers["content-type"]
            body = {"sender": "newcomer", "message": "where is my order?"}
            replies = client.post("/webhooks/rest/webhook", json=body).raise_for_status().json()
            assert replies
            assert all(reply["recipient_id"] == "newcomer" for reply in replies)
            assert any(reply.get("text") for reply in replies)


@contextmanager
def serving(installed: Path, folder: Path, env: dict[str, str]) -> Iterator[httpx.Client]:
    """`kefu serve shop` of the installed distribution, ready inside the block, ended by SIGTERM after it."""
    port, log = free_port(), folder / "serve.log"
    command = [str(installed / "kefu"), "serve", "shop", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=file, stderr=file, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 60
            while not is_ready(client):
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, f"kefu serve is not ready\n{log.read_text()[-4000:]}"
                time.sleep(0.1)
            yield client
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}, log.read_text()[-4000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What pip finds for the lock on each Python: version → canonical name → metadata. No wheel is downloaded."""
    folder = tmp_path_factory.mktemp("resolved")

    def resolve(version: str) -> dict[str, Any]:
        report = folder / f"{version}.json"
        how = (
            "--dry-run",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
            folder / "none",
            "--python-version",
            version,
        )
        run(sys.executable, "-m", "pip", "install", "-qq", *how, "--report", report, "-r", LOCK, cwd=folder)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        return {canonicalize_name(item["metadata"]["name"]): item["metadata"] for item in items}

    with ThreadPoolExecutor() as pool:
        yield dict(zip(PYTHONS, pool.map(resolve, PYTHONS), strict=True))


@pytest.mark.parametrize("version", PYTHONS)
class TestLockResolves:
    """pip evaluates environment markers for the Python that runs it, so completeness is checked from the metadata."""

    def environment(self, version: str) -> dict[str, Any]:
        return {**default_environment(), "python_version": version, "python_full_version": f"{version}.0"}

    def test_every_pin_has_a_build(self, version: str, reports: dict[str, dict[str, Any]]) -> None:
        pins = [Requirement(line) for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(self.environment(version))]
        found = {f"{name}=={metadata['version']}" for name, metadata in reports[version].items()}
        assert {f"{canonicalize_name(pin.name)}{pin.specifier}" for pin in here} <= found

    def test_nothing_needed_is_missing_or_out_of_range(self, version: str, reports: dict[str, dict[str, Any]]) -> None:
        resolved, todo, problems = reports[version], pyproject_requirements(), []
        seen: set[str] = set()
        while todo:
            needed = todo.pop()
            name = canonicalize_name(needed.name)
            if name == "torch" or str(needed) in seen:
                continue
            seen.add(str(needed))
            if name not in resolved or not needed.specifier.contains(resolved[name]["version"], prereleases=True):
                problems.append(f"{needed}: resolved is {resolved.get(name, {}).get('version')}")
                continue
            extras = ("", *needed.extras)
            for child in map(Requirement, resolved[name].get("requires_dist", ())):
                environments = [{**self.environment(version), "extra": extra} for extra in extras]
                if child.marker is None or any(child.marker.evaluate(each) for each in environments):
                    todo.append(child)
        assert problems == []


def pyproject_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    groups = [project["project"]["dependencies"], project["dependency-groups"]["dev"], *extras.values()]
    return [Requirement(line) for group in groups for line in group]
