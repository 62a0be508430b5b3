"""A live Rasa beside us: some walks over each bot and over generated projects. Thousands of them: `make conformance`.

Runs where KEFU_LIVE_RASA=1 and KEFU_RASA_PYTHON names the interpreter of an environment with Rasa 3.6.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.campaign import (
    BOT_VALUES,
    EXAMPLES,
    TESTS,
    Counts,
    Live,
    bot_folder,
    bot_of,
    compare_generated,
    converse,
    converse_served,
    live,
)

PYTHON = os.environ.get("KEFU_RASA_PYTHON")
RASA = Path(os.environ.get("KEFU_RASA", TESTS.parent.parent / "shared" / "rasa"))

pytestmark = pytest.mark.skipif(
    os.environ.get("KEFU_LIVE_RASA") != "1" or not PYTHON,
    reason="KEFU_LIVE_RASA=1 and KEFU_RASA_PYTHON run the walks beside a live Rasa",
)


@pytest.fixture(scope="module")
def there() -> Iterator[Live]:
    with live(Path(str(PYTHON))) as running:
        yield running


@pytest.mark.parametrize("name", [*EXAMPLES, "labbot"])
async def test_walks_over_a_bot_go_as_in_rasa(name: str, there: Live, tmp_path: Path) -> None:
    folder = bot_folder(name, RASA, tmp_path)
    if folder is None:
        pytest.skip(f"KEFU_RASA has no bot {name}")
    there.load(folder, without=["TEDPolicy"])
    counts = Counts()
    async with bot_of(folder) as bot:
        findings = await converse(there, bot, range(10), BOT_VALUES, counts)
    assert [str(finding.difference) for finding in findings] == []
    assert counts.conversations == 10


async def test_end_to_end_stories_go_as_in_rasa(there: Live, tmp_path: Path) -> None:
    folder = tmp_path / "wordsbot"
    shutil.copytree(TESTS / "bots" / "wordsbot", folder)
    there.load(folder, without=["TEDPolicy"], end_to_end=True)
    counts = Counts()
    async with bot_of(folder) as bot:
        findings = await converse(there, bot, range(40), {}, counts)
    assert [str(finding.difference) for finding in findings] == []
    assert counts.turns > 200


async def test_walks_through_a_serving_process_go_as_in_rasa(there: Live, tmp_path: Path) -> None:
    folder = bot_folder("labbot", RASA, tmp_path)
    assert folder is not None
    there.load(folder, without=["TEDPolicy"])
    counts = Counts()
    findings = await converse_served(there, folder, range(10), BOT_VALUES, counts)
    assert [str(finding.difference) for finding in findings] == []
    assert counts.conversations == 10


async def test_generated_projects_go_as_in_rasa(there: Live) -> None:
    counts = Counts()
    for seed in range(10):
        await compare_generated(there, seed, 3, counts)
    assert counts.differences == []
    assert counts.refusals_that_differ == []
    assert counts.projects > 0
    assert counts.refused_by_both > 0
