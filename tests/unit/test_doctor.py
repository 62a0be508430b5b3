"""`kefu doctor` names the settings that are unsafe where others reach the server, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.doctor import examine
from bot.settings import load_settings
from tests.lab import LABBOT

GOOD = "0123456789abcdef" * 2
POSTGRES = "postgresql+psycopg://u:hunter2@127.0.0.1:1/none"


def warned(home: Path, **settings: Any) -> dict[str, str]:
    found = examine(load_settings(home=home, **settings), LABBOT)
    return {finding.check: finding.found for finding in found if finding.level in {"warning", "error"}}


def test_the_defaults_on_one_s_own_machine_are_safe(tmp_path: Path) -> None:
    assert not {"listens on", "secret key", "pages that may embed", "widget secret", "files"} & set(warned(tmp_path))


@pytest.mark.parametrize(
    ("settings", "check", "says"),
    [
        ({"host": "0.0.0.0"}, "listens on", "KEFU_API_TOKEN"),
        ({"host": "0.0.0.0"}, "pages that may embed", "KEFU_ALLOWED_ORIGINS"),
        ({"secret_key": "changeme"}, "secret key", "8 characters"),
        ({"database_url": POSTGRES}, "secret key", "KEFU_SECRET_KEY"),
        ({"widget_secret": "changeme"}, "widget secret", "8 characters"),
        ({"files_url": "nonsense://u:hunter2@x"}, "files", "KEFU_FILES_URL"),
    ],
)
def test_what_is_unsafe_is_named_with_the_variable(
    settings: dict[str, str], check: str, says: str, tmp_path: Path
) -> None:
    found = warned(tmp_path, **settings)
    assert says in found[check]
    assert not [text for text in found.values() if "changeme" in text or "hunter2" in text]


def test_a_public_server_with_everything_set_is_safe(tmp_path: Path) -> None:
    public = {"host": "0.0.0.0", "api_token": GOOD, "secret_key": GOOD, "widget_secret": GOOD}
    found = warned(tmp_path, **public, allowed_origins="https://shop.example")
    assert not {"listens on", "secret key", "pages that may embed", "widget secret", "files"} & set(found)
