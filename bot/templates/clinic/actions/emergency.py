"""Emergency words in what a patient wrote, found without any model.

The words stand in data/emergency.yml and nowhere else. The invariant: a message is looked at as a whole, every time,
and what is found can only add to what the model says, never take from it.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml import YAML

PATTERNS_FILE = Path(__file__).parents[1] / "data" / "emergency.yml"

BODY = "body"
MIND = "mind"
# Found by the intent alone, so nobody knows which numbers are needed: give both.
UNCLEAR = "unclear"

_KINDS = {"emergency": BODY, "crisis": MIND}
_INTENT = "emergency"
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
_HAN_GAP = re.compile(r"(?<=[\u4e00-\u9fff])[\s,.，。、…!！~～-]+(?=[\u4e00-\u9fff])")


def _read_patterns() -> dict[str, tuple[re.Pattern[str], ...]]:
    """Kind → patterns. Without the file nothing may start: a front desk that misses emergencies is worse than none."""
    found: dict[str, list[re.Pattern[str]]] = {BODY: [], MIND: []}
    for item in YAML(typ="safe").load(PATTERNS_FILE)["nlu"]:
        lines = (line.strip().removeprefix("- ") for line in item["examples"].splitlines())
        found[_KINDS[item["regex"]]] += [re.compile(line, re.IGNORECASE) for line in lines if line]
    return {kind: tuple(patterns) for kind, patterns in found.items()}


_PATTERNS = _read_patterns()


def kind_of(text: str, entities: Iterable[str] = (), intent: str | None = None) -> str | None:
    """Say what kind of emergency a message may be (BODY, MIND or UNCLEAR); None where there is no sign of one.

    MIND wins where both are found, because its answer gives the ambulance's number as well.
    """
    kinds = {kind for kind, patterns in _PATTERNS.items() if _is_hit(text, patterns)}
    kinds |= {_KINDS[name] for name in entities if name in _KINDS}
    if MIND in kinds:
        return MIND
    if BODY in kinds:
        return BODY
    return UNCLEAR if intent == _INTENT else None


def _is_hit(text: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    """Look at the text as typed, and with full-width letters, hidden characters and odd spaces made plain."""
    plain = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).split())
    return any(pattern.search(form) for form in {text, plain, _HAN_GAP.sub("", plain)} for pattern in patterns)
