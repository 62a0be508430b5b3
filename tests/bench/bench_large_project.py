"""A 5 MB nlu.yml and 2,000 stories: read, `kefu validate`, start, learn the policy; results/large_project.json.

python -m tests.bench.bench_large_project [--megabytes 5] [--stories 2000]

The project is made of nonsense words with a fixed seed: what is measured is size. Each step is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.report import write

INTENTS, ACTIONS, WORDS = 100, 150, 4_000
READ = "from bot.assistant.loader import load_assistant; load_assistant(Path(folder), {})"
COMPILE = (
    "from bot.app import load_bot; from bot.settings import load_settings; load_bot(Path(folder), load_settings())"
)
LEARN = """
from bot.assistant.loader import load_assistant
from bot.settings import load_settings
from bot.story_lessons import learn_policy
from models.registry import Registry
registry = Registry(load_settings().models_dir, "large")
assert learn_policy(load_assistant(Path(folder), {}), registry, Path(folder) / "scratch", lambda *step: None, print)
"""


def make_project(folder: Path, megabytes: float, stories: int) -> dict[str, int]:
    """Write the project; counts of what is in it."""
    rng = random.Random(0)
    words = [
        "".join(rng.choice("bcdfgklmnprst") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        for _ in range(WORDS)
    ]
    (folder / "data").mkdir(parents=True)
    lines = ["nlu:"]
    for intent in range(INTENTS):
        lines += [f"- intent: intent_{intent}", "  examples: |"]
        own, size = words[intent * 20 : (intent + 1) * 20], 0
        while size < megabytes * 1e6 / INTENTS:
            spoken = [rng.choice(own if rng.random() < 0.3 else words) for _ in range(rng.randint(4, 12))]
            if rng.random() < 0.2:
                spoken.append(f"[{rng.choice(words)}](thing)")
            lines.append(f"    - {' '.join(spoken)}")
            size += len(lines[-1]) + 1
    (folder / "data" / "nlu.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    examples = sum(line.startswith("    - ") for line in lines)
    answers: dict[tuple[int, ...], int] = {}
    lines = ["stories:"]
    for story in range(stories):
        lines += [f"- story: story {story}", "  steps:"]
        said: tuple[int, ...] = ()
        for _ in range(rng.randint(2, 6)):
            said = (*said, rng.randrange(INTENTS))
            answer = answers.setdefault(said, rng.randrange(ACTIONS))
            lines += [f"  - intent: intent_{said[-1]}", f"  - action: utter_{answer}"]
    (folder / "data" / "stories.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    intents = "".join(f"- intent_{intent}\n" for intent in range(INTENTS))
    responses = "".join(f"  utter_{action}:\n  - text: answer {action}\n" for action in range(ACTIONS))
    domain = f"intents:\n{intents}entities: [thing]\nresponses:\n{responses}  utter_default:\n  - text: Sorry?\n"
    (folder / "domain.yml").write_text(domain, encoding="utf-8")
    policies = "- name: MemoizationPolicy\n- name: RulePolicy\n- name: TEDPolicy\n  max_history: 5\n"
    (folder / "config.yml").write_text(f"language: en\nassistant_id: large\npolicies:\n{policies}", encoding="utf-8")
    size = (folder / "data" / "nlu.yml").stat().st_size
    return {"nlu_bytes": size, "examples": examples, "stories": stories}


def measured(command: list[str], home: Path) -> dict[str, float]:
    """Seconds and peak memory of a process; its output is in the error where it fails."""
    began = time.perf_counter()
    env = {**os.environ, "KEFU_HOME": str(home)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.communicate()[0]
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{output}")
    # The largest child so far: steps come in the order of their memory.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return {"seconds": round(seconds, 1), "peak_mb_so_far": round(peak)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=float, default=5.0)
    options.add_argument("--stories", type=int, default=2_000)
    given = options.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as scratch:
        folder, home = Path(scratch) / "bot", Path(scratch) / "home"
        figures |= make_project(folder, given.megabytes, given.stories)

        def python(code: str) -> list[str]:
            return [sys.executable, "-c", f"from pathlib import Path; folder = {str(folder)!r}\n{code}"]

        for step, command in {
            "read": python(READ),
            "validate": [sys.executable, "-m", "bot.cli", "validate", str(folder)],
            "start": python(COMPILE),
            "learn_policy": python(LEARN),
        }.items():
            print(step, flush=True)
            figures[step] = measured(command, home)
    write("large_project", figures, targets={})


if __name__ == "__main__":
    main()
