"""A model that a real `kefu models serve` serves: a tiny shop, two versions of it, replicas on a Ray of their own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from models.client import RemoteUnderstander, urls_of
from models.registry import Registry
from models.wire import Report, read_report
from tests.learning import write_assistant
from tests.server import free_port
from tests.tiny_models import ASSISTANT

REPOSITORY = Path(__file__).parent.parent
WHY_SKIPPED = "Ray is not installed: pip install 'kefu[ray]'"
HAS_RAY = importlib.util.find_spec("ray") is not None
# The assistant of tests.tiny_models: what its versions know, said back.
SHOP = {
    "domain.yml": (
        "intents: [greet, order_status, return_item]\n"
        "responses:\n"
        "  utter_greet: [{text: Hello!}]\n"
        "  utter_order: [{text: On its way.}]\n"
        "  utter_return: [{text: Send it back.}]\n"
    ),
    "data/rules.yml": (
        "rules:\n"
        "- rule: hello\n  steps: [{intent: greet}, {action: utter_greet}]\n"
        "- rule: order\n  steps: [{intent: order_status}, {action: utter_order}]\n"
        "- rule: return\n  steps: [{intent: return_item}, {action: utter_return}]\n"
    ),
    "data/nlu.yml": "nlu:\n- intent: greet\n  examples: |\n    - hello there\n",
    "config.yml": f"assistant_id: {ASSISTANT}\nlanguage: en\npolicies:\n- name: RulePolicy\n",
    "brand.yml": "disclosure: {enabled: false}\n",
}


@dataclass
class ServedModels:
    """One `kefu models serve` process over a KEFU_HOME, with the Ray it started."""

    home: Path
    folder: Path | None = None
    assistant_id: str = ASSISTANT
    replicas: int = 2
    threads: int = 1
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def assistant(self) -> Path:
        """The folder as given, else the tiny shop."""
        return self.folder or self.home / "shop"

    @property
    def registry(self) -> Registry:
        return Registry(self.home / "models", self.assistant_id)

    @property
    def models(self) -> str:
        """What KEFU_MODELS names."""
        return f"ray://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return urls_of(self.models, self.assistant_id)[0]

    @property
    def log(self) -> Path:
        return self.home / "models.log"

    def client(self) -> RemoteUnderstander:
        return RemoteUnderstander([self.url])

    def start(self, timeout_s: float = 180) -> ServedModels:
        """Start and wait until every replica answers."""
        if self.folder is None:
            write_assistant(self.assistant, SHOP)
        command = ["models", "serve", str(self.assistant), "--port", str(self.port)]
        size = ["--replicas", str(self.replicas), "--threads", str(self.threads)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot.cli", *command, *size],
                env={**os.environ, "KEFU_HOME": str(self.home)},
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + timeout_s
        while len(self.reports(looks=8)) < self.replicas:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"kefu models serve is not ready\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return self

    def reports(self, looks: int = 16) -> dict[str, Report]:
        """What the replicas say, by name; each look finds one of them."""
        found = {}
        with httpx.Client(timeout=5, trust_env=False) as http:
            for _ in range(looks):
                try:
                    answer = http.get(self.url)
                except httpx.HTTPError:
                    break
                if answer.status_code == 200:
                    report = read_report(answer.content)
                    found[report.replica] = report
        return found

    def stop(self, timeout_s: float = 60) -> int:
        """End it as a service manager does; the process's exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
