"""Rasa's TEDPolicy on given splits of stories: the other side of `bench_policy`. Runs on a Python that has rasa 3.6.21.

python rasa_ted.py REQUEST ANSWER

Both are JSON files. The request holds `domain` (a path), `settings` (of TEDPolicy), `seed` and `splits`, each with
`train` and `test`: conversations as lists of Rasa's events, a listen before each message and at the end. The answer
holds, per split, the seconds of `train`, and per test conversation what was predicted before each of its actions.
Training data goes through Rasa's own generator, so its own augmentation applies. Intents and actions are featurized
one-hot: no pipeline is involved.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tensorflow as tf  # type: ignore[import-not-found]
from rasa.core.policies.ted_policy import TEDPolicy  # type: ignore[import-not-found]
from rasa.engine.graph import ExecutionContext, GraphSchema  # type: ignore[import-not-found]
from rasa.engine.storage.local_model_storage import LocalModelStorage  # type: ignore[import-not-found]
from rasa.engine.storage.resource import Resource  # type: ignore[import-not-found]
from rasa.shared.core.domain import Domain  # type: ignore[import-not-found]
from rasa.shared.core.events import ActionExecuted, Event  # type: ignore[import-not-found]
from rasa.shared.core.generator import TrainingDataGenerator  # type: ignore[import-not-found]
from rasa.shared.core.trackers import DialogueStateTracker  # type: ignore[import-not-found]
from rasa.shared.core.training_data.structures import (  # type: ignore[import-not-found]
    STORY_START,
    Checkpoint,
    StoryGraph,
    StoryStep,
)

AUGMENTATION = 50


def events_of(bodies: list[dict[str, Any]]) -> list[Any]:
    return [Event.from_parameters(body) for body in bodies]


def generate(conversations: list[list[dict[str, Any]]], domain: Any) -> tuple[list[Any], float]:
    """Rasa's training trackers, augmented, and the seconds that took."""
    steps = [
        StoryStep(block_name=f"story {number}", start_checkpoints=[Checkpoint(STORY_START)], events=events_of(bodies))
        for number, bodies in enumerate(conversations)
    ]
    started = time.perf_counter()
    generator = TrainingDataGenerator(StoryGraph(steps), domain, augmentation_factor=AUGMENTATION)
    return generator.generate_story_trackers(), time.perf_counter() - started


def train(conversations: list[list[dict[str, Any]]], domain: Any, settings: dict[str, Any]) -> tuple[Any, float, float]:
    """The trained policy, the seconds of generating and training, and the CPU seconds of training."""
    trackers, generate_s = generate(conversations, domain)
    storage = LocalModelStorage(Path(tempfile.mkdtemp(prefix="ted-")))
    config = {**TEDPolicy.get_default_config(), **settings}
    policy = TEDPolicy.create(config, storage, Resource("ted"), ExecutionContext(GraphSchema({})))
    started, cpu = time.perf_counter(), time.process_time()
    policy.train(trackers, domain)
    return policy, generate_s + time.perf_counter() - started, time.process_time() - cpu


def predict(policy: Any, bodies: list[dict[str, Any]], domain: Any) -> list[dict[str, Any]]:
    """What the policy predicts before each action of a conversation."""
    tracker = DialogueStateTracker("test", domain.slots)
    found = []
    for event in events_of(bodies):
        if isinstance(event, ActionExecuted):
            scores = policy.predict_action_probabilities(tracker, domain).probabilities
            best = max(range(len(scores)), key=scores.__getitem__)
            actual = event.action_name or event.action_text
            found.append(
                {"action": actual, "predicted": domain.action_names_or_texts[best], "confidence": float(scores[best])}
            )
        tracker.update(event, domain)
    return found


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    domain = Domain.load(request["domain"])
    settings = {**request["settings"], "random_seed": request["seed"]}
    answers = []
    for split in request["splits"]:
        policy, seconds, cpu_s = train(split["train"], domain, settings)
        tests = [predict(policy, bodies, domain) for bodies in split["test"]]
        answers.append({"train_s": seconds, "train_cpu_s": cpu_s, "tests": tests})
        Path(sys.argv[2]).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
