"""Train the learned dialogue policy: a small transformer over the states of a conversation, calibrated, as ONNX.

Lessons in, a version folder out; where lessons come from is `bot.dialogue.learned`'s. PyTorch lives here.
Invariant: same lessons, settings and libraries, same scores, byte for byte; the confidence is also fitted on stories
that the scoring network has not seen.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.artifact import read_manifest, sha256_file, version_id, write_manifest
from models.base import Manifest
from models.policy import (
    LOGITS,
    POLICY_KIND,
    POLICY_ONNX,
    STATES,
    UNKNOWN_INTENT,
    PolicyProbe,
    PolicySpec,
    encode,
    open_policy,
    save_spec,
)
from training.fit import fit_temperature
from training.policy_data import MAX_STATES, Features, Lesson, PolicySettings, data_hash

Progress = Callable[[str, int, int], None]

# Raise when the same lessons and settings would now make another model.
TRAINER = 1

# As TED's: on the starter and labbot, leaving one story out, half the width was no better and a second layer is not
# worth its time.
WIDTH = 128
HEADS = 4
DROPOUT = 0.1
# How often a known intent is shown as an unknown one, so that a network knows what little it can say about those.
UNKNOWN_SHARE = 0.1
# Steps of training. Fewer than the least leave even three stories half learned; beyond the passes nothing got better.
LEAST_STEPS = 60
PASSES = 15
ENOUGH_STEPS = 300
LEAST_PASSES = 3
# Parts of the stories that are left out once each, for the calibration.
FOLDS = 3
PROBES = 5


@dataclass(frozen=True, kw_only=True)
class _Table:
    """N lessons over U different states: what is computed once a state is not computed once a lesson.

    Attributes:
        states: (U, 1 + F); row 0 stands for "no state".
        places: (N, window) rows of `states`, the present state last.
        targets: (N,) the action.
    """

    states: Tensor
    places: Tensor
    targets: Tensor

    def rows(self, chosen: Sequence[int]) -> _Table:
        index = torch.tensor(chosen, dtype=torch.int64)
        return replace(self, places=self.places[index], targets=self.targets[index])


class Network(nn.Module):
    """States → logits of the actions. Only the last state asks, so the attention costs O(window)."""

    def __init__(self, columns: int, actions: int, window: int) -> None:
        super().__init__()
        head = WIDTH // HEADS
        self.embed = nn.Linear(columns, WIDTH, bias=False)
        self.position = nn.Parameter(torch.randn(window, WIDTH) * 0.02)  # counted from the present state
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Parameter(torch.randn(HEADS, head, WIDTH) / math.sqrt(WIDTH))
        self.value = nn.Parameter(torch.randn(HEADS, WIDTH, head) / math.sqrt(WIDTH))
        self.joined = nn.Linear(WIDTH, WIDTH)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(3)])
        self.inner, self.outer = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, actions)
        # What the present state says by itself; the rest is left to learn what the history adds.
        self.direct = nn.Linear(columns, actions, bias=False)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, states: Tensor) -> Tensor:
        """(B, window, columns) → (B, K)."""
        return self.score(self.embed(states), states[:, :, 0], states[:, -1])

    def score(self, embedded: Tensor, present: Tensor, last: Tensor) -> Tensor:
        """(B, T, D) embedded states, (B, T) 1 where there is one, (B, columns) the last → (B, K)."""
        placed = embedded + self.position
        context = self._attend(self.norms[0](placed), present)
        hidden = placed[:, -1] + self.drop(self.joined(context))
        hidden = hidden + self.drop(self.outer(functional.gelu(self.inner(self.norms[1](hidden)))))
        scores: Tensor = self.out(self.norms[2](hidden)) + self.direct(last)
        return scores

    def _attend(self, normed: Tensor, present: Tensor) -> Tensor:
        """(B, T, D) → (B, D). Keys and values are folded into the one query and the one answer of each head."""
        query = self.query(normed[:, -1]).view(-1, HEADS, WIDTH // HEADS)
        asked = torch.einsum("bhd,hde->bhe", query, self.key)
        weights = torch.einsum("bhe,bte->bht", asked, normed) / math.sqrt(WIDTH // HEADS)
        weights = (weights + (present - 1.0)[:, None] * 1e9).softmax(-1)
        read = torch.einsum("bht,bte->bhe", weights, normed)
        return torch.einsum("bhe,hed->bhd", read, self.value).reshape(-1, WIDTH)


def train_policy(
    lessons: Sequence[Lesson],
    settings: PolicySettings,
    out: Path,
    assistant_id: str,
    progress: Progress = lambda step, done, total: None,
    *,
    source: str = "",
) -> Manifest:
    """Train into the empty or absent folder `out`, ready for `Registry.add`.

    Args:
        source: names the files that the lessons are from; part of the fingerprint, kept in the manifest.
        progress: called with ("policy", done, total) after each network, of which calibration needs some.
    Raises:
        ValueError: no lessons.
    """
    if not lessons:
        raise ValueError("no lessons: a policy learns from stories, and there are none")
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with _reproducible():
        spec, table = _tabulate(lessons, settings)
        network, temperature, metrics = _fit_calibrated(lessons, table, spec, settings, progress)
        spec = replace(spec, temperature=temperature)
        _export(network, spec, out / POLICY_ONNX)
    save_spec(out, spec)
    manifest = _manifest(lessons, settings, spec, assistant_id, metrics, time.perf_counter() - started, source)
    return _seal(out, manifest, lessons, spec)


def policy_fingerprint(lessons: Sequence[Lesson], settings: PolicySettings, source: str = "") -> str:
    """What a version is made from: same fingerprint, same policy, no need to train."""
    parts = [TRAINER, data_hash(lessons, settings), _libraries(), source]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _reproducible() -> Iterator[None]:
    """One thread (sums in one order) and the random state of whoever called put back."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def _tabulate(lessons: Sequence[Lesson], settings: PolicySettings) -> tuple[PolicySpec, _Table]:
    names = sorted({name for lesson in lessons for state in lesson.states for name in state} | {UNKNOWN_INTENT})
    longest = max(len(lesson.states) for lesson in lessons if not lesson.is_glued or settings.max_history)
    spec = PolicySpec(
        features=tuple(names),
        actions=tuple(sorted({lesson.action for lesson in lessons})),
        window=min(settings.max_history or longest, longest, MAX_STATES),
        temperature=1.0,
    )
    action = {name: number for number, name in enumerate(spec.actions)}
    known: dict[tuple[tuple[str, float], ...], int] = {}
    states: list[Features] = []
    places = np.zeros((len(lessons), spec.window), dtype=np.int64)
    for row, lesson in enumerate(lessons):
        last = lesson.states[-spec.window :]
        for place, state in enumerate(last, start=spec.window - len(last)):
            key = tuple(state.items())
            if key not in known:
                states.append(state)
                known[key] = len(states)
            places[row, place] = known[key]
    columns = {name: column for column, name in enumerate(names, start=1)}
    encoded = encode(columns, [[state] for state in states], 1)[:, 0]
    table = _Table(
        states=torch.from_numpy(np.concatenate([np.zeros_like(encoded[:1]), encoded])),
        places=torch.from_numpy(places),
        targets=torch.tensor([action[lesson.action] for lesson in lessons]),
    )
    return spec, table


# ---- learning ----


def _fit_calibrated(
    lessons: Sequence[Lesson], table: _Table, spec: PolicySpec, settings: PolicySettings, progress: Progress
) -> tuple[Network, float, dict[str, float]]:
    """The network of all lessons, and a temperature from networks that have not seen some of the stories.

    A customer follows a story or leaves it: the held-out decisions count as much as those of the stories themselves.
    A held-out action that the other stories never take is left out, for no temperature can make it likely.
    """
    folds = list(_folds(lessons))
    progress("policy", 0, 1 + len(folds))
    network = _fit(table, spec, settings)
    own = [row for row, lesson in enumerate(lessons) if not lesson.is_glued]
    logits, targets = [_logits(network, table.rows(own))], [table.rows(own).targets.numpy()]
    for done, (seen, unseen) in enumerate(folds, start=1):
        progress("policy", done, 1 + len(folds))
        learned = set(table.rows(seen).targets.tolist())
        held = table.rows([row for row in unseen if int(table.targets[row]) in learned])
        if len(held.targets):
            logits.append(_logits(_fit(table.rows(seen), spec, settings), held))
            targets.append(held.targets.numpy())
    progress("policy", 1 + len(folds), 1 + len(folds))
    metrics = {"story_accuracy": _accuracy(logits[:1], targets[:1])}
    if len(logits) > 1:
        metrics["held_out_accuracy"] = _accuracy(logits[1:], targets[1:])
    temperature = fit_temperature(np.concatenate(logits), np.concatenate(targets))
    # Never surer than the network itself: stories that agree with each other say little about what they lack.
    return network, max(1.0, temperature), metrics


def _accuracy(logits: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.int64]]) -> float:
    return float(np.mean(np.concatenate(logits).argmax(axis=1) == np.concatenate(targets)))


def _folds(lessons: Sequence[Lesson]) -> Iterator[tuple[list[int], list[int]]]:
    """Lessons that hold nothing of some stories, and those stories' own; none where there is but one story."""
    parts = [frozenset(lesson.story.split(" > ")) for lesson in lessons]
    heads = list(dict.fromkeys(lesson.story for lesson in lessons if not lesson.is_glued))
    for fold in range(min(FOLDS, len(heads)) if len(heads) > 1 else 0):
        names = set(heads[fold::FOLDS])
        pieces = {piece for name in names for piece in name.split(" > ")}
        seen = [row for row, part in enumerate(parts) if not part & pieces]
        unseen = [row for row, lesson in enumerate(lessons) if not lesson.is_glued and lesson.story in names]
        if seen and unseen:
            yield seen, unseen


def _fit(table: _Table, spec: PolicySpec, settings: PolicySettings) -> Network:
    torch.manual_seed(settings.random_seed)
    network = Network(table.states.shape[1], len(spec.actions), spec.window)
    steps = _steps(len(table.targets), settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(2, steps), pct_start=0.1
    )
    intents = torch.tensor([0.0, *(float(name.startswith("intent:")) for name in spec.features)])
    unknown = torch.tensor([0.0, *(float(name == UNKNOWN_INTENT) for name in spec.features)])
    for chosen in _batches(len(table.targets), steps, settings.batch_size):
        loss = _loss(network, _with_unknown(table.states, intents, unknown), table, chosen, settings)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def _steps(lessons: int, settings: PolicySettings) -> int:
    batches = math.ceil(lessons / settings.batch_size)
    wanted = max(LEAST_STEPS, min(PASSES * batches, ENOUGH_STEPS), LEAST_PASSES * batches)
    return min(wanted, settings.epochs * batches)


def _batches(lessons: int, steps: int, size: int) -> Iterator[Tensor]:
    order = torch.randperm(lessons)
    at = 0
    for _ in range(steps):
        if at >= lessons:
            order, at = torch.randperm(lessons), 0
        yield order[at : at + size]
        at += size


def _with_unknown(states: Tensor, intents: Tensor, unknown: Tensor) -> Tensor:
    """Some states' intents become the unknown one, in all lessons that hold the state."""
    is_hit = (torch.rand(len(states), 1) < UNKNOWN_SHARE) & ((states * intents).sum(1, keepdim=True) > 0)
    return torch.where(is_hit, states * (1 - intents) + unknown, states)


def _loss(network: Network, states: Tensor, table: _Table, chosen: Tensor, settings: PolicySettings) -> Tensor:
    places, targets = table.places[chosen], table.targets[chosen]
    logits = network.score(network.embed(states)[places], (places > 0).float(), states[places[:, -1]])
    loss = functional.cross_entropy(logits, targets)
    if settings.constrain_similarities:
        wanted = functional.one_hot(targets, logits.shape[1]).float()
        loss = loss + functional.binary_cross_entropy_with_logits(logits, wanted)
    return loss


def _logits(network: Network, table: _Table) -> NDArray[np.float32]:
    with torch.no_grad():
        embedded = network.embed(table.states)[table.places]
        scores = network.score(embedded, (table.places > 0).float(), table.states[table.places[:, -1]])
    found: NDArray[np.float32] = scores.numpy()
    return found


# ---- writing ----


def _export(network: Network, spec: PolicySpec, path: Path) -> None:
    sample = torch.zeros(2, spec.window, 1 + len(spec.features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter, as in `export.py`, is called old
        torch.onnx.export(
            network,
            (sample,),
            str(path),
            input_names=[STATES],
            output_names=[LOGITS],
            dynamic_axes={STATES: {0: "batch"}, LOGITS: {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


def _manifest(
    lessons: Sequence[Lesson],
    settings: PolicySettings,
    spec: PolicySpec,
    assistant_id: str,
    metrics: dict[str, float],
    seconds: float,
    source: str,
) -> Manifest:
    created, stamp = datetime.now(UTC), policy_fingerprint(lessons, settings, source)
    own = sum(not lesson.is_glued for lesson in lessons)
    return Manifest(
        version=version_id(created, stamp),
        kind=POLICY_KIND,
        assistant_id=assistant_id,
        created_at=created.isoformat(timespec="seconds"),
        base="",
        base_source="none",
        base_sha256="",
        recipe="policy",
        fingerprint=stamp,
        data_sha256=data_hash(lessons, settings),
        languages=(),
        intents=(),
        sentiments=(),
        temperature=spec.temperature,
        thresholds={},
        metrics=metrics,
        training={
            "source": source,
            "settings": asdict(settings),
            "lessons": own,
            "glued_lessons": len(lessons) - own,
            "window": spec.window,
            "libraries": _libraries(),
            "seconds": round(seconds, 2),
        },
        probes=(),
    )


def _seal(out: Path, manifest: Manifest, lessons: Sequence[Lesson], spec: PolicySpec) -> Manifest:
    """Note what the exported file scores for some lessons, then hash every file."""
    served = open_policy(out, manifest)
    probes = []
    for lesson in lessons[:: max(1, len(lessons) // PROBES)][:PROBES]:
        states = lesson.states[-spec.window :]
        action, probability = max(served.scores(states).items(), key=lambda item: item[1])
        probes.append(PolicyProbe(states=states, action=action, probability=probability))
    save_spec(out, replace(spec, probes=tuple(probes)))
    files = {path.name: sha256_file(path) for path in sorted(out.iterdir()) if path.name[0] != "."}
    write_manifest(out, replace(manifest, files=files))
    return read_manifest(out)


def _libraries() -> dict[str, str]:
    """Versions of what decides the result."""
    return {name: importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime", "torch")}
