"""Rasa 3.6 beside Kefu: an environment of its own under KEFU_HOME, found, built, checked and used.

Nothing here imports rasa, and nothing changes a Python that was there before: either `setup` made the environment
(`rasa/venv`), or its interpreter was named and is only called. Invariant: `rasa/environment.json` names an interpreter
that had rasa 3.6 when it was written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.errors import ConfigurationError, KefuError

RASA = "rasa==3.6.21"
"""Always pinned: without a version, a newer Python is offered 1.10.2. pyproject.toml's group `rasa` says the same."""
PYTHONS = ("3.10", "3.9", "3.8")
ENVIRONMENT_BYTES = 2_700_000_000
_SPARE_BYTES = 1_500_000_000
"""pip unpacks and caches beside it while it installs."""

BUILD_FROM_COMPOSE = (
    "Install uv (it brings its own Python 3.10) or one of python3.10, python3.9, python3.8 and try again, name the "
    "interpreter of an environment that has it (`kefu rasa setup --python PATH`), or run Rasa in a container: "
    "`docker compose --profile rasa up rasa` and `rasa_url: http://127.0.0.1:5005` in kefu.yml."
)

_PROBE = (
    "import json, sys\n"
    "try:\n"
    "    from importlib.metadata import version\n"
    "    found = version('rasa')\n"
    "except Exception:\n"
    "    found = None\n"
    "print(json.dumps([sys.executable, '%d.%d' % sys.version_info[:2], found]))\n"
)
_PROBE_TIMEOUT_S = 60

Tell = Callable[[str], None]


class RasaFailed(KefuError):
    """Rasa's own program ended with an error; what it printed says why."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """An interpreter that was asked.

    Attributes:
        python: as Python itself names it; behind a launcher that is another path than the one that was called.
        python_version: "3.10".
        rasa_version: None without rasa.
    """

    python: Path
    python_version: str
    rasa_version: str | None


@dataclass(frozen=True, kw_only=True)
class RasaEnvironment:
    """What `environment.json` holds. `made_by` is "uv", "venv" or "given"."""

    python: Path
    python_version: str
    rasa_version: str
    made_by: str


def probe(python: Path | str) -> Found | None:
    """Ask an interpreter what it is; None where it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True
        )
        executable, python_version, rasa_version = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Found(python=Path(executable), python_version=python_version, rasa_version=rasa_version)


def rasa_folder(home: Path) -> Path:
    return home / "rasa"


def installed(home: Path) -> RasaEnvironment | None:
    """The environment that `setup` left, as it was then; `probe` tells whether it still is."""
    try:
        body = json.loads((rasa_folder(home) / "environment.json").read_text(encoding="utf-8"))
        return RasaEnvironment(**{**body, "python": Path(body["python"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{rasa_folder(home) / 'environment.json'} cannot be read ({error}); run `kefu rasa setup` again"
        ) from error


def required(home: Path) -> RasaEnvironment:
    """The environment, there and working. Raises ConfigurationError with what to do."""
    found = installed(home)
    if found is None:
        raise ConfigurationError("Rasa is not set up here; run `kefu rasa setup` (about 2.7 GB)")
    if not found.python.exists():
        raise ConfigurationError(f"{found.python}, Rasa's interpreter, is gone; run `kefu rasa setup` again")
    return found


def setup(home: Path, tell: Tell, *, python: Path | None = None) -> RasaEnvironment:
    """Make sure that a working Rasa 3.6 is known; at once where it is already.

    An interrupted run goes on where it stopped: the environment that is there is used, and pip takes what it fetched
    from its cache.

    Args:
        python: interpreter of an environment that has rasa 3.6; nothing is installed into it.
    Raises:
        ConfigurationError: nothing to build it with, too little disk, or the given interpreter does not fit.
        RasaFailed: the installation failed.
    """
    if python is not None:
        return _remember(home, _fitting(python), "given")
    folder = rasa_folder(home) / "venv"
    inside = folder / "bin" / "python"
    found = probe(inside)
    if found is not None and found.rasa_version == RASA.partition("==")[2]:
        tell(f"{RASA} is there already: {folder}")
        return _remember(home, found, _maker(home))
    maker, create, install = _plan(folder, inside)
    _check_disk(home, tell)
    if found is None:
        _run(create, tell)
    _run(install, tell)
    tell("starting it once, to see that it runs (this takes a while the first time)")
    _run([str(inside), "-I", "-m", "rasa", "--version"], tell)
    return _remember(home, _fitting(inside), maker)


def _fitting(python: Path) -> Found:
    found = probe(python)
    if found is None:
        raise ConfigurationError(f"{python} does not run as a Python interpreter")
    if found.rasa_version is None:
        raise ConfigurationError(
            f"{python} (Python {found.python_version}) has no rasa; `kefu rasa setup` without --python builds an "
            "environment that has"
        )
    if not found.rasa_version.startswith("3."):
        raise ConfigurationError(f"{python} has rasa {found.rasa_version}; a Rasa 3 is needed, best {RASA}")
    return found


def _plan(folder: Path, inside: Path) -> tuple[str, list[str], list[str]]:
    """Who builds: its name, the command that makes the environment, and the one that installs."""
    uv = shutil.which("uv")
    if uv:
        create = [uv, "venv", "--python", PYTHONS[0], "--clear", str(folder)]
        return "uv", create, [uv, "pip", "install", "--python", str(inside), RASA]
    base = find_python()
    if base is None:
        raise ConfigurationError(
            f"{RASA} runs on Python {', '.join(reversed(PYTHONS))} only, and neither one of them nor uv is found. "
            + BUILD_FROM_COMPOSE
        )
    create = [str(base), "-I", "-m", "venv", "--clear", str(folder)]
    install = [str(inside), "-I", "-m", "pip", "install", "--disable-pip-version-check", RASA]
    return "venv", create, install


def find_python() -> Path | None:
    """A Python that Rasa 3.6 runs on, the newest first: on the PATH, else one that pyenv made."""
    pyenv = Path.home() / ".pyenv" / "versions"
    for version in PYTHONS:
        named = shutil.which(f"python{version}")
        candidates = [*([Path(named)] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
        for candidate in candidates:
            found = probe(candidate)  # a launcher may be there without the version it is named after
            if found is not None and found.python_version == version:
                return found.python
    return None


def _check_disk(home: Path, tell: Tell) -> None:
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    tell(
        f"{RASA} and what it needs take {ENVIRONMENT_BYTES / 1e9:.1f} GB in {rasa_folder(home)}; {free / 1e9:.0f} free"
    )
    if free < ENVIRONMENT_BYTES + _SPARE_BYTES:
        raise ConfigurationError(
            f"{home} has {free / 1e9:.1f} GB left and Rasa's environment needs "
            f"{(ENVIRONMENT_BYTES + _SPARE_BYTES) / 1e9:.1f} GB while it is built; make room, or set KEFU_HOME"
        )


def _maker(home: Path) -> str:
    before = installed(home)
    return before.made_by if before and before.made_by != "given" else "venv"


def _remember(home: Path, found: Found, made_by: str) -> RasaEnvironment:
    environment = RasaEnvironment(
        python=found.python,
        python_version=found.python_version,
        rasa_version=found.rasa_version or "",
        made_by=made_by,
    )
    file = rasa_folder(home) / "environment.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({**asdict(environment), "python": str(found.python)}, indent=1), encoding="utf-8")
    fresh.replace(file)
    return environment


def _run(command: Sequence[str], tell: Tell) -> None:
    """Run a step of the set-up and pass its lines on."""
    process = subprocess.Popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process:
        for line in process.stdout or ():
            tell(line.rstrip())
    if process.returncode:
        raise RasaFailed(
            f"`{' '.join(command)}` ended with {process.returncode}; the lines above say why. "
            "`kefu rasa setup` goes on from here."
        )


def train(environment: RasaEnvironment, project: Path, options: Sequence[str], variables: Mapping[str, str]) -> None:
    """`rasa train` in `project`, its output passed through.

    Raises:
        ConfigurationError: the folder is no Rasa project.
        RasaFailed: it ended with an error.
    """
    check_project(project)
    # `rasa train` looks for domain.yml; a folder of domain files has to be named.
    named = [] if (project / "domain.yml").exists() or "--domain" in options else ["--domain", "domain"]
    command = [str(environment.python), "-I", "-m", "rasa", "train", *named, *options]
    code = subprocess.run(command, cwd=project, env={**variables, **QUIET}, check=False).returncode
    if code:
        raise RasaFailed(f"`rasa train` ended with {code}; the lines above say why")


QUIET = {"RASA_TELEMETRY_ENABLED": "false", "SQLALCHEMY_SILENCE_UBER_WARNING": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Variables for Rasa's processes: nothing is reported to anyone, and TensorFlow keeps its notices."""


def check_project(project: Path) -> None:
    """Raises ConfigurationError where a folder has no domain or no config.yml."""
    if not (project / "config.yml").exists() or not (
        (project / "domain.yml").exists() or (project / "domain").is_dir()
    ):
        raise ConfigurationError(f"{project} is no Rasa project: it needs config.yml and domain.yml (or domain/)")
