"""The repository's own promises: a complete lock, declared imports, files that name each other rightly."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest
import typer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from bot.cli import app
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("bot", "connectors", "models", "training")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


RUNTIME = requirements(PROJECT["project"]["dependencies"])
TRAINING = requirements(EXTRAS["train"])
POSTGRES = requirements(EXTRAS["postgres"])
GENERATION = requirements(EXTRAS["generate"])
RAY = requirements(EXTRAS["ray"])
BROKERS = requirements([*EXTRAS["kafka"], *EXTRAS["rabbitmq"]])
DEVELOPMENT = requirements([*PROJECT["dependency-groups"]["dev"], *PROJECT["build-system"]["requires"], "pip"])
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
]
LOCK = requirements(LOCK_LINES)

DISTRIBUTIONS = importlib.metadata.packages_distributions()
LOADED_BY_NAME = {
    "httptools": "uvicorn, to parse HTTP",
    "onnx": "onnxruntime.quantization and torch.onnx, to write a model",
    "python-multipart": "starlette, to read an upload's form",
    "soupsieve": "beautifulsoup4; bounded for the early Pythons 3.11",
    "tzdata": "zoneinfo, where the system brings no time zones",
    "uvloop": "uvicorn, as its loop",
    "websockets": "uvicorn, for /webchat/ws",
}


IN_RASAS_ENVIRONMENT = ("bot/rasa/rasa_worker.py", "tests/bench/rasa_ted.py")
"""Run by the Python of the dependency group `rasa`, which has what they import."""


def environment_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENVIRONMENT = environment_script()


class TestLock:
    def test_pins_every_version_exactly_and_holds_no_hashes(self) -> None:
        for line in LOCK_LINES:
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; python_version .*)?", line), line

    def test_leaves_pytorch_to_the_machine(self) -> None:
        pinned = Requirement(ENVIRONMENT.TORCH)
        assert not {name for name in LOCK if name == "torch" or name.startswith(("nvidia-", "cuda-", "triton"))}
        assert TRAINING["torch"].specifier.contains(next(iter(pinned.specifier)).version)

    def test_satisfies_every_range_of_pyproject(self) -> None:
        for name, wanted in {**RUNTIME, **TRAINING, **POSTGRES, **GENERATION, **RAY, **DEVELOPMENT}.items():
            if name != "torch":
                assert wanted.specifier.contains(next(iter(LOCK[name].specifier)).version), str(wanted)

    def test_is_what_is_installed_and_complete_for_this_python(self) -> None:
        """Walks what the installed packages say they need; each must be in the lock, at the installed version."""
        todo = list({**RUNTIME, **TRAINING, **POSTGRES, **GENERATION, **RAY, **DEVELOPMENT}.values())
        seen: set[tuple[str, frozenset[str]]] = set()
        while todo:
            wanted = todo.pop()
            name = canonicalize_name(wanted.name)
            if (name, frozenset(wanted.extras)) in seen:
                continue
            seen.add((name, frozenset(wanted.extras)))
            installed = importlib.metadata.distribution(name)
            if name != "torch":
                assert name in LOCK, f"{name} is needed and not in requirements.lock; run `make lock`"
                assert LOCK[name].specifier.contains(installed.version), f"{name} {installed.version}; run `make setup`"
            for line in installed.requires or ():
                child = Requirement(line)
                if name == "torch" and canonicalize_name(child.name).startswith(("nvidia-", "cuda-", "triton")):
                    continue
                extras = ("", *wanted.extras)
                if child.marker is None or any(child.marker.evaluate({"extra": each}) for each in extras):
                    todo.append(child)
        assert set(LOCK) - {name for name, _ in seen} == set(), "nothing needs these any more; run `make lock`"


class TestImports:
    """Every third-party import is a declared dependency, of the kind that its place allows."""

    def imports(self, package: str) -> Iterator[tuple[str, str, bool]]:
        """(place, imported top-level module, whether it happens when the file is imported)."""
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            guarded = {
                id(node)
                for outer in ast.walk(tree)
                if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_type_checking(outer)
                for node in ast.walk(outer)
            }
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for name in names:
                    yield (
                        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}",
                        name.split(".")[0],
                        id(node) not in guarded,
                    )

    @pytest.mark.parametrize("package", [*PACKAGES, "tests"])
    def test_are_declared(self, package: str) -> None:
        anywhere = RUNTIME | TRAINING | POSTGRES | GENERATION | BROKERS | RAY
        at_import = RUNTIME | TRAINING if package == "training" else RUNTIME
        if package == "tests":
            anywhere = at_import = anywhere | DEVELOPMENT
        undeclared = []
        for place, module, is_at_import in self.imports(package):
            if place.partition(":")[0] in IN_RASAS_ENVIRONMENT:
                continue
            if module in sys.stdlib_module_names or module in {*PACKAGES, "actions", "tests"}:
                continue
            if not self.providers(module) & set(at_import if is_at_import else anywhere):
                undeclared.append(f"{place} imports {module}")
        assert undeclared == [], "add them to pyproject.toml, then `make lock`"

    def test_are_what_the_dependencies_are_for(self) -> None:
        """A dependency that nothing imports is dead weight, unless another library loads it by name."""
        used = {
            each for package in PACKAGES for _, module, _ in self.imports(package) for each in self.providers(module)
        }
        assert set(RUNTIME | TRAINING | POSTGRES | GENERATION) - used - set(LOADED_BY_NAME) == set()

    def providers(self, module: str) -> set[str]:
        """The installed distributions that hold a top-level module."""
        return {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, ())}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


class TestCommands:
    def test_make_lists_every_command(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
        assert phony
        shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        listed = re.findall(r"^  make (\S+) +\S", shown, re.MULTILINE)
        assert listed == phony[1].split()
        assert {"help", "setup", "run", "test", "check", "bench", "faults", "conformance", "clean"} <= set(listed)

    def test_setup_names_what_it_looked_for_when_no_python_fits(self) -> None:
        done = subprocess.run(["make", "setup", "PYTHON=no-such-python"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode != 0
        assert "no Python 3.11, 3.12 or 3.13 found as: no-such-python" in done.stderr
        assert "make setup PYTHON=/path/to/python3.12" in done.stderr

    def test_ci_is_executable_and_calls_make(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        assert {"setup", "check", "test"} <= set(
            re.findall(r"make (\w+)$", script.read_text(encoding="utf-8"), re.MULTILINE)
        )


class TestTorchIndex:
    """Whether PyTorch's own index is asked: `answers` decides, and must never hold the set-up for long."""

    def test_an_index_that_answers_is_taken(self) -> None:
        class Index(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Index) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            assert ENVIRONMENT.answers(f"http://127.0.0.1:{server.server_port}/whl/cpu", 3.0)
            assert not ENVIRONMENT.answers(f"http://127.0.0.1:{server.server_port}/elsewhere", 3.0)
            server.shutdown()

    def test_a_silent_one_is_given_up_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            started = time.monotonic()
            assert not ENVIRONMENT.answers(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3)
            assert time.monotonic() - started < 2


class TestLicence:
    def test_is_apache_2_in_full(self) -> None:
        text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert "Apache License" in text
        assert "Version 2.0, January 2004" in text
        assert "END OF TERMS AND CONDITIONS" in text
        assert PROJECT["project"]["license"] == "Apache-2.0"
        assert all((ROOT / name).is_file() for name in PROJECT["project"]["license-files"])


KEFU_SERVICES = ("migrate", "train", "web", "worker")


class TestContainer:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    def compose(self) -> dict[str, dict[str, dict[str, object]]]:
        value: dict[str, dict[str, dict[str, object]]] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
        return value

    def test_every_copied_file_is_there_and_not_kept_out(self) -> None:
        copied = re.findall(r"^COPY (?!--from)(.*) \S+$", self.dockerfile, re.MULTILINE)
        sources = " ".join(copied).split()
        kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert {*PACKAGES, "pyproject.toml", "requirements.lock", PROJECT["project"]["readme"]} <= set(sources)
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in kept, f".dockerignore keeps {source} out"

    def test_python_and_pytorch_are_the_supported_ones(self) -> None:
        pythons = set(re.findall(r"^FROM python:([0-9.]+)-slim", self.dockerfile, re.MULTILINE))
        assert len(pythons) == 1
        assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"{pythons.pop()}.0")
        assert re.findall(r"^ARG TORCH=(.*)$", self.dockerfile, re.MULTILINE) == [ENVIRONMENT.TORCH.split("==")[1]]

    def test_runs_as_nobody_special_and_reports_readiness(self) -> None:
        assert re.search(r"^USER kefu$", self.dockerfile, re.MULTILINE)
        assert "http://127.0.0.1:8000/readyz" in self.dockerfile
        assert 'ENTRYPOINT ["kefu"]' in self.dockerfile

    def test_compose_calls_commands_that_exist(self) -> None:
        commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
        for name in KEFU_SERVICES:
            command = self.compose()["services"][name]["command"]
            assert isinstance(command, list)
            assert command[0] in commands

    def test_rasa_runs_only_when_asked_for_and_is_not_published(self) -> None:
        service = self.compose()["services"]["rasa"]
        assert service["profiles"] == ["rasa"]
        assert service["image"] == "rasa/rasa:3.6.21"
        assert service["command"] == ["run", "--enable-api"]
        assert "ports" not in service
        assert "http://127.0.0.1:5005/version" in str(service["healthcheck"])

    def test_variables_are_settings(self) -> None:
        """What compose, the image and .env.example set is what the product reads; a missing secret stops compose."""
        known = {f"KEFU_{name.upper()}" for name in Settings.model_fields} | {"KEFU_PUBLISH_PORT"}
        files = ("docker-compose.yml", ".env.example", "Dockerfile")
        texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in files}
        assert set(re.findall(r"\bKEFU_[A-Z_]+\b", "".join(texts.values()))) <= known
        for name in KEFU_SERVICES:
            environment = self.compose()["services"][name]["environment"]
            assert isinstance(environment, dict)
            assert all(str(environment[key]).startswith(f"${{{key}:?") for key in ("KEFU_API_TOKEN", "KEFU_SECRET_KEY"))
        required = set(re.findall(r"\$\{([A-Z_]+):\?", texts["docker-compose.yml"]))
        assert required == {"KEFU_API_TOKEN", "KEFU_SECRET_KEY", "POSTGRES_PASSWORD"}
        assert all(f"\n{name}=" in texts[".env.example"] for name in required)

    def test_nothing_runs_as_root_or_writes_beside_its_volumes(self) -> None:
        for name, service in self.compose()["services"].items():
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            if name != "rasa":  # its image has a user of its own, and it writes where it likes
                assert service["read_only"] is True, name
            if name not in KEFU_SERVICES and name != "rasa":
                assert service["user"], name
        assert all(self.compose()["services"][name]["volumes"] == ["kefu-data:/data"] for name in KEFU_SERVICES)
        assert "KEFU_HOME=/data" in self.dockerfile

    def test_every_setting_of_the_env_file_reaches_the_processes(self) -> None:
        for name in KEFU_SERVICES:
            assert self.compose()["services"][name]["env_file"] == [{"path": ".env", "required": False}]

    def test_a_read_only_service_gets_its_configuration_as_a_file(self) -> None:
        """Compose cannot write one that stands in docker-compose.yml itself into a read-only container."""
        for config in self.compose()["configs"].values():
            assert (ROOT / str(config["file"])).is_file()

    def test_only_the_proxy_is_published_and_only_here(self) -> None:
        services = self.compose()["services"]
        assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
        assert str(services["proxy"]["ports"]).startswith("['127.0.0.1:")


def test_the_readme_s_figures_come_from_results() -> None:
    from tests.bench.readme import README, with_table

    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "run `python -m tests.bench.readme`"
