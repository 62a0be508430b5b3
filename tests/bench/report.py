"""What every measurement writes: results/<name>.json with machine, commit, figures and whether the target was met."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "results"


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the two nearest values; NaN for none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the worst, in milliseconds."""
    figures = {f"p{percent}_ms": percentile(seconds, percent) * 1000 for percent in (50, 95, 99)}
    return {name: round(value, 2) for name, value in {**figures, "max_ms": percentile(seconds, 100) * 1000}.items()}


def write(name: str, figures: Mapping[str, Any], *, targets: Mapping[str, bool]) -> Path:
    """Write results/<name>.json and print it.

    Args:
        figures: what was measured, n and units in the names.
        targets: each target in words, and whether this run met it.
    """
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "targets": dict(targets),
        **figures,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    print(text, f"→ {file}", sep="")
    return file


def machine() -> dict[str, Any]:
    """Processor, cores, memory, Python, and how busy the machine is already: figures taken beside other work say so."""
    return {
        "processor": _first_line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min_after": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The checked-out commit, with "+changes" when tracked files differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = [
        line for line in _git("status", "--porcelain", "--untracked-files=no").splitlines() if " results/" not in line
    ]
    return f"{head or 'unknown'}{'+changes' if changed else ''}"


def _git(*args: str) -> str:
    try:
        done = subprocess.run(["git", *args], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.rstrip("\n")


def _first_line(file: str, key: str) -> str:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
