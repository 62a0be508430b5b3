"""The learned dialogue policy as served: which action fits after these states. ONNX Runtime and numpy, nothing else.

Training is `training/finetune_policy.py`'s; how a conversation becomes states is the dialogue's. A state is a mapping
of feature names to values. Invariant: the cost of an answer does not depend on the conversation's length, unknown
features count as absent (an intent as unknown), and a folder that scores its probes otherwise than when it was trained
does not load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.artifact import read_manifest, verify
from models.base import ArtifactInvalid, Manifest
from models.encoder import session_options
from models.heads import softmax

POLICY_KIND = "policy"
POLICY_ONNX = "policy.onnx"
POLICY_JSON = "policy.json"
STATES = "states"
LOGITS = "logits"
WORD = "word:"
"""Begins the names of the features that stand for a customer's words."""
INTENT = "intent:"
UNKNOWN_INTENT = "intent:?"
"""Stands for every intent that no story holds. Its name cannot be an intent's."""
PROBE_TOLERANCE = 1e-3

Features = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PolicyProbe:
    """States, and the action and probability that the model gave when it was made."""

    states: tuple[Features, ...]
    action: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What the graph's columns mean.

    Attributes:
        features: names of columns 1 to F; column 0 is 1 where there is a state.
        actions: names of the K logits.
        window: states looked back on.
        temperature: divides the logits.
    """

    features: tuple[str, ...]
    actions: tuple[str, ...]
    window: int
    temperature: float
    probes: tuple[PolicyProbe, ...] = ()


class TrainedPolicy:
    """One loaded version. Thread-safe."""

    def __init__(self, version: str, spec: PolicySpec, session: Any) -> None:
        self._version, self._session = version, session
        self.spec = spec
        self._columns = {name: column for column, name in enumerate(spec.features, start=1)}

    @property
    def version(self) -> str:
        return self._version

    @property
    def window(self) -> int:
        return self.spec.window

    @property
    def reads_words(self) -> bool:
        """Whether stories with the customer's own words taught it."""
        return any(name.startswith(WORD) for name in self.spec.features)

    def scores(self, states: Sequence[Features]) -> dict[str, float]:
        """Probability of each action after these states (oldest first; those beyond the window are left out)."""
        logits = self._session.run([LOGITS], {STATES: encode(self._columns, [states], self.window)})[0]  # (1, K)
        chances = softmax(logits / np.float32(self.spec.temperature))[0]
        return dict(zip(self.spec.actions, chances.tolist(), strict=True))


def encode(columns: Mapping[str, int], sequences: Sequence[Sequence[Features]], window: int) -> NDArray[np.float32]:
    """B sequences of states → (B, window, 1 + F), the last state last, nothing but zeros before the first."""
    encoded = np.zeros((len(sequences), window, 1 + len(columns)), dtype=np.float32)
    for row, states in enumerate(sequences):
        last = states[-window:]
        for place, state in enumerate(last, start=window - len(last)):
            encoded[row, place, 0] = 1.0
            for name, value in state.items():
                column = columns.get(name) or columns.get(UNKNOWN_INTENT if name.startswith(INTENT) else "")
                if column is not None:
                    encoded[row, place, column] = value
    return encoded


def save_spec(folder: Path, spec: PolicySpec) -> None:
    text = json.dumps(asdict(spec), ensure_ascii=False, indent=1)
    (folder / POLICY_JSON).write_text(text + "\n", encoding="utf-8")


def load_policy(path: Path) -> TrainedPolicy:
    """Load and verify a version folder.

    Raises:
        ArtifactInvalid: a file is missing, altered or of another kind, or it does not score as when it was trained.
    """
    manifest = read_manifest(path)
    if manifest.kind != POLICY_KIND:
        raise ArtifactInvalid(f"{path}: a {manifest.kind} model cannot decide in a dialogue; promote a policy version")
    verify(path, manifest)
    policy = open_policy(path, manifest)
    for probe in policy.spec.probes:
        found = policy.scores(probe.states).get(probe.action, 0.0)
        if abs(found - probe.probability) > PROBE_TOLERANCE:
            raise ArtifactInvalid(
                f"{path}: scores '{probe.action}' {found:.4f}, {probe.probability:.4f} when it was trained; train again"
            )
    return policy


def open_policy(path: Path, manifest: Manifest) -> TrainedPolicy:
    """The policy of a folder whose files are as they should be; `load_policy` checks that first."""
    try:
        raw = json.loads((path / POLICY_JSON).read_text(encoding="utf-8"))
        spec = PolicySpec(
            features=tuple(raw["features"]),
            actions=tuple(raw["actions"]),
            window=int(raw["window"]),
            temperature=float(raw["temperature"]),
            probes=tuple(PolicyProbe(**(probe | {"states": tuple(probe["states"])})) for probe in raw["probes"]),
        )
        # One thread: a pass takes a tenth of a millisecond, waking another thread takes as long.
        session = onnxruntime.InferenceSession(
            str(path / POLICY_ONNX), session_options(1), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises bare Exception for a bad file
        raise ArtifactInvalid(f"{path}: the policy does not load ({error}); train again") from error
    return TrainedPolicy(manifest.version, spec, session)
