"""Makes what git does not hold: `.venv` from `requirements.lock`, that lock, a Chromium for the browser tests.

Run by the Makefile with nothing but a Python from 3.11 to 3.13 and pip; standard library only, except in `lock`,
which runs inside `.venv`. Invariant: what ends up in `.venv` depends on the lock, pyproject.toml and the Python version
alone; only the build of PyTorch (CPU or CUDA) depends on the machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "kefu-setup.stamp"
PYTHONS = ("3.11", "3.12", "3.13")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# The one place that pins PyTorch. It is not in the lock: which build of this version is right depends on the machine.
TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_INDEX_PATIENCE_S = 3.0

LOCK_HEADER = """\
# Written by `make lock`; do not edit. Runtime, training, PostgreSQL and development, for Python {pythons}.
# No hashes: another build of the same version (a mirror's, a distribution's) is as good.
# Not here: {torch}, which .ci/environment.py installs first, in the build that fits the machine.
"""


def setup() -> None:
    """Bring `.venv` to what the lock says; returns at once when it is there already."""
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    started = time.monotonic()
    make_venv()
    install_torch()
    say("Installing the locked packages.")
    pip("install", "--no-deps", "-r", str(LOCK))
    pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    pip("check")
    STAMP.write_text(fingerprint())
    say(f"Ready in {time.monotonic() - started:.0f} s: .venv with Python {python_of_venv()}.")


def fingerprint() -> str:
    """Changes whenever `.venv` has to be looked at again; holds the folder, because a moved `.venv` is broken."""
    files = (LOCK, ROOT / "pyproject.toml", Path(__file__))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{digest} Python {python_of_venv()} {ROOT}\n"


def python_of_venv() -> str:
    """The `3.x` of the environment; empty when it is missing or broken."""
    return ask_venv("import sys; print('%d.%d' % sys.version_info[:2])")


def ask_venv(code: str) -> str:
    """What a line of Python prints inside the environment; empty when it fails."""
    try:
        return subprocess.run([VENV_PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def make_venv() -> None:
    """Keep an environment of this very Python that was made in this place, replace any other."""
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    config = VENV / "pyvenv.cfg"
    made_here = config.exists() and f" {VENV}\n" in config.read_text() + "\n"
    if made_here and python_of_venv() == ours:
        return
    # This script may run on the interpreter of the very .venv that goes away.
    base = getattr(sys, "_base_executable", sys.executable)
    if VENV.exists():
        say(f"Replacing .venv: it is not a working Python {ours} made in {VENV}.")
        shutil.rmtree(VENV)
    say(f"Making .venv with Python {platform.python_version()} ({base}).")
    if importlib.util.find_spec("ensurepip"):
        run(base, "-m", "venv", str(VENV))
    else:  # Debian without python3-venv: its pip can fill the gap
        run(base, "-m", "venv", "--without-pip", str(VENV))
        run(base, "-m", "pip", "--python", str(VENV_PYTHON), "install", "--quiet", "pip")


def install_torch() -> None:
    """Install PyTorch first and alone, so that no other package's requirement chooses its build.

    The package index's Linux wheel brings gigabytes of CUDA. Without an NVIDIA driver the CPU build is taken from
    PyTorch's own index when that answers, else whatever the configured index gives: a mirror or a find-links folder
    may well hold a CPU build.
    """
    if torch_version().split("+")[0] == TORCH.split("==")[1]:
        return
    if has_nvidia_driver():
        say(f"Installing {TORCH} from the configured package index: an NVIDIA driver is present.")
    elif sys.platform == "linux" and answers(CPU_INDEX, CPU_INDEX_PATIENCE_S):
        say(f"Installing {TORCH}, CPU build, from {CPU_INDEX}.")
        if pip("install", "--no-deps", "--index-url", CPU_INDEX, TORCH, may_fail=True):
            return
        say("That failed; trying the configured package index.")
    else:
        reason = f"no NVIDIA driver, and {CPU_INDEX} does not answer" if sys.platform == "linux" else "not Linux"
        say(f"Installing {TORCH} from the configured package index: {reason}.")
    pip("install", "-c", str(LOCK), TORCH)
    say(f"PyTorch {torch_version()} is installed.")


def torch_version() -> str:
    """The installed build, such as `2.13.0+cpu`; empty when there is none."""
    return ask_venv("import importlib.metadata as m; print(m.version('torch'))")


def has_nvidia_driver() -> bool:
    """Whether `nvidia-smi` runs; its presence alone says nothing, images carry it without a driver."""
    try:
        return subprocess.run(["nvidia-smi"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def answers(index: str, patience_s: float) -> bool:
    """Whether an index answers in time. A thread keeps the time, since no socket timeout covers a slow name look-up."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=patience_s):
                answered.set()
        except OSError:
            return  # unreachable, refused, not found, untrusted: all the same answer, no

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience_s)
    return answered.is_set()


def browser() -> None:
    """Make sure that browser tests find a Chromium: on the path, by apt as root, else Playwright's own download.

    Without one a developer is told that browser tests will be skipped; continuous integration (CI=true) fails.
    """
    if chromium_on_path() or playwright_has_chromium():
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing Chromium with apt-get, for the browser tests.")
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")
        run(*apt, "update", may_fail=True)
        run(*apt, "install", "-y", "--no-install-recommends", "chromium", "fonts-noto-cjk", may_fail=True)
        if chromium_on_path():
            return
    say("Fetching Playwright's Chromium, for the browser tests.")
    run(str(VENV / "bin" / "playwright"), "install", "chromium", may_fail=True)
    if playwright_has_chromium():
        return
    problem = "no Chromium on the path, by apt or from Playwright"
    if os.environ.get("CI") == "true":
        raise SystemExit(f"kefu: {problem}: browser tests are never skipped when CI=true. Put a Chromium on the path.")
    say(f"{problem}: the browser tests will be skipped.")


def chromium_on_path() -> bool:
    """Whether the browser tests will find an installed Chromium or Chrome."""
    return any(shutil.which(name) for name in CHROMIUM_NAMES)


def playwright_has_chromium() -> bool:
    """Whether Playwright has downloaded its own browser already."""
    path = ask_venv(
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as driver: print(driver.chromium.executable_path)"
    )
    return bool(path) and Path(path).exists()


def lock() -> None:
    """Write the lock from pyproject.toml: one set of versions for every Python that we support.

    What the present lock pins stays as it is; a line deleted from it is resolved anew.
    """
    wanted = wanted_requirements()
    more: set[str] = set()
    while True:
        say("Resolving.")
        resolved = resolve([*wanted, *sorted(more)])
        needed = {version: closure(wanted, resolved, version) for version in PYTHONS}
        missing = set().union(*needed.values()) - set(resolved) - more
        if not missing:
            break
        more |= missing  # needed by another Python than this one, whose markers pip's resolver does not evaluate
    lines = []
    for name in sorted(set().union(*needed.values()) - {"torch"}):
        on = [f"python_version == '{version}'" for version in PYTHONS if name in needed[version]]
        marker = "" if len(on) == len(PYTHONS) else " ; " + " or ".join(on)
        lines.append(f"{name}=={resolved[name]['version']}{marker}\n")
    LOCK.write_text(LOCK_HEADER.format(pythons=", ".join(PYTHONS), torch=TORCH) + "".join(lines))
    say(f"{LOCK.name}: {len(lines)} packages.")


def wanted_requirements() -> list[str]:
    """Everything that pyproject.toml asks for, and pip, which fetches base models at run time."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    return [
        *project["project"]["dependencies"],
        *(line for extra in extras for line in extra),
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
        "pip",
        TORCH,
    ]


def closure(wanted: list[str], resolved: dict[str, Any], version: str) -> set[str]:
    """The canonical names of all packages that the wanted ones need on one Python version."""
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": version,
        "python_full_version": f"{version}.0",
    }
    todo = [Requirement(line) for line in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        key = (canonical(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        environments = [{**environment, "extra": extra} for extra in ("", *requirement.extras)]
        for line in resolved.get(key[0], {}).get("requires_dist", ()):
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate(each) for each in environments):
                todo.append(child)
    return {name for name, _ in seen}


def resolve(requirements: list[str]) -> dict[str, Any]:
    """What pip would install into an empty environment: canonical name → its metadata."""
    kept = ("-c", str(LOCK)) if LOCK.exists() else ()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        to_report = ("--dry-run", "--ignore-installed", "--only-binary=:all:", "--report", str(report))
        pip("install", *to_report, *kept, *requirements)
        items = json.loads(report.read_text())["install"]
    return {canonical(item["metadata"]["name"]): item["metadata"] for item in items}


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pip(command: str, *args: str, may_fail: bool = False) -> bool:
    """Run pip inside `.venv`, with its progress bars on a terminal and only its errors elsewhere.

    Nothing is compiled ahead: Python compiles what it imports, and most of what is installed is never imported.
    """
    options = ["--no-compile"] if command == "install" else []
    if command == "install" and ("--dry-run" in args or not sys.stdout.isatty()):
        options.append("-qq")
    return run(str(VENV_PYTHON), "-m", "pip", command, *options, *args, may_fail=may_fail)


def run(*command: str, may_fail: bool = False) -> bool:
    """Run a command with its output shown; a failure ends the set-up with what to do."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    code = subprocess.run(command, env=environment, cwd=ROOT).returncode
    if code and not may_fail:
        raise SystemExit(
            f"kefu: this failed with exit status {code}:\n  {' '.join(command)}\n"
            "The reason is above. Most often the package index cannot be reached (`pip config list` shows which one\n"
            "is asked) or the disk is full. `make setup` goes on from here; `make clean setup` begins anew."
        )
    return code == 0


def say(line: str) -> None:
    """One line of progress."""
    print(f"kefu: {line}", flush=True)


if __name__ == "__main__":
    commands = {"setup": setup, "browser": browser, "lock": lock}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit(f"usage: environment.py {'|'.join(commands)}")
    commands[sys.argv[1]]()
