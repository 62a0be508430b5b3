"""`kefu suggest …`: what a person at a terminal sees."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.test_suggestions import FILES, said, shop
from tests.server import STARTER, kefu


def shown(home: Path, *args: str) -> list[dict[str, object]]:
    done = kefu("suggest", "show", *args, "--json", "--assistant", str(STARTER), home=home)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_what_a_customer_would_be_shown_and_why(tmp_path: Path) -> None:
    table = kefu("suggest", "show", "my linen duvet cover", "--assistant", str(STARTER), home=tmp_path, COLUMNS="140")
    assert "linen duvet cover" in table.stdout
    assert "Fits what you asked about" in table.stdout
    chinese = shown(tmp_path, "黄铜阅读灯")
    assert (chinese[0]["name"], chinese[0]["why"]) == ("黄铜阅读灯", "和您刚才说的对得上")
    known = shown(tmp_path, "hello", "--customer", "Anna.Weber@example.com")
    assert not {"duvet-linen", "pillowcase-linen"} & {str(one["id"]) for one in known}


def test_without_suggestions_it_says_how_to_turn_them_on(tmp_path: Path) -> None:
    folder = tmp_path / "assistant"
    for name, text in {**FILES, "kefu.yml": "suggestions: off\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    refused = kefu("suggest", "show", "hello", "--assistant", str(folder), home=tmp_path, check=False)
    assert refused.returncode == 1
    assert "kefu.yml turns them on" in refused.stderr


async def test_other_ways_of_choosing_are_judged_by_the_log(tmp_path: Path) -> None:
    changed = {"kefu.yml": FILES["kefu.yml"] + "  explore: 0.5\n"}
    async with shop(tmp_path, changed) as lab:
        for number in range(12):
            for card in (await said(lab, "what would you suggest", f"c{number}"))[1]["custom"]["cards"]:
                if card["title"] == "Wool throw":
                    await said(lab, card["buttons"][0]["payload"], f"c{number}")
    folder, home = str(tmp_path / "assistant"), tmp_path / "home"
    values = json.loads(kefu("suggest", "evaluate", "--json", "--assistant", folder, home=home).stdout)
    popular = values["popularity"]
    assert popular["n"] == 12
    assert popular["logged"]["low"] <= popular["logged"]["value"] <= popular["logged"]["high"]
    # Popularity alone always shows the throw first, and whoever saw it there pressed it.
    assert popular["snips"]["value"] >= 1.0
    table = kefu("suggest", "evaluate", "--assistant", folder, home=home).stdout
    assert "12 showings" in table
    assert "popularity" in table
    nothing = kefu("suggest", "evaluate", "--reward", "purchase", "--assistant", folder, home=home, check=False)
    assert "nothing to judge" in nothing.stderr
