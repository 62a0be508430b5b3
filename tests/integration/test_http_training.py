"""`POST /model/train` and `PUT /model`: a document is learned from in a process of its own, and serves when told to."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path

import pytest

from models.base import KIND
from tests.lab import labbot, running

INTENTS = {
    "greet": ["hello", "hi there", "good morning", "hey", "good evening everybody", "hello bot"],
    "goodbye": ["bye", "see you later", "good bye then", "bye, have a nice day", "until tomorrow", "so long"],
    "transfer": [
        "send money",
        "I want to transfer money",
        "a transfer please",
        "pay my rent",
        "wire 20",
        "make a payment",
    ],
}
EXAMPLES = "".join(
    f"- intent: {intent}\n  examples: |\n" + "".join(f"    - {text}\n" for text in texts)
    for intent, texts in INTENTS.items()
)
DOCUMENT = f"""\
version: "3.1"
language: en
pipeline:
- name: DIETClassifier
policies:
- name: RulePolicy
intents: [greet, goodbye, transfer]
responses:
  utter_greet:
  - text: Hello
rules:
- rule: say hello
  steps:
  - intent: greet
  - action: utter_greet
nlu:
{EXAMPLES}"""
YAML = {"Content-Type": "application/x-yaml"}


async def test_a_document_is_learned_from_and_its_version_serves_when_told_to(
    starter_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "bases").symlink_to((starter_home / "bases").absolute())
    async with running(tmp_path, labbot()) as lab:
        training = asyncio.create_task(lab.http.post("/model/train", content=DOCUMENT, headers=YAML, timeout=600))
        while (await lab.http.get("/status")).json()["num_active_training_jobs"] == 0:
            await asyncio.sleep(0.01)
        second = await lab.http.post("/model/train", content=DOCUMENT, headers=YAML)
        assert (second.status_code, second.json()["reason"]) == (409, "Conflict")
        trained = await training
        assert trained.status_code == 200, trained.text
        name = trained.headers["filename"]
        with tarfile.open(fileobj=io.BytesIO(trained.content)) as archive:
            assert f"{name.removesuffix('.tar.gz')}/manifest.json" in archive.getnames()
        assert (await lab.http.get("/status")).json()["num_active_training_jobs"] == 0
        registry = lab.platform.settings.models_dir / "labbot" / KIND
        assert not (registry / "CURRENT").exists()
        loaded = await lab.http.put("/model", json={"model_file": f"models/{name}"})
        assert (loaded.status_code, loaded.content) == (204, b"")
        assert f"{(registry / 'CURRENT').read_text().strip()}.tar.gz" == name
    assert not list(tmp_path.glob(".api-training-*"))


@pytest.mark.parametrize(
    ("document", "reason", "words"),
    [
        ("a: [b", "BadRequest", "does not contain valid YAML"),
        ("- a", "BadRequest", "does not contain valid YAML"),
        (DOCUMENT.replace("utter_greet\nnlu", "utter_nothing\nnlu"), "BadRequest", "data.yml:15"),
        (DOCUMENT.replace("  - text: Hello", "  text: Hello"), "InvalidDomainError", "domain.yml:10"),
        ("\ufeff" + '{"version": "3.1", "rules": 7}', "BadRequest", "cannot be learned from"),
    ],
)
async def test_what_cannot_be_learned_from_is_refused_with_its_line(
    tmp_path: Path, document: str, reason: str, words: str
) -> None:
    async with running(tmp_path) as lab:
        answer = await lab.http.post("/model/train", content=document.encode(), headers=YAML)
        assert (answer.status_code, answer.json()["reason"]) == (400, reason)
        assert words in answer.json()["message"]
        assert str(tmp_path) not in answer.json()["message"]
        assert (await lab.http.get("/status")).json()["num_active_training_jobs"] == 0
