"""Settings: one reader of the environment, a page that lists them all, a secret that is made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bot.errors import ConfigurationError
from bot.settings import STARTER, Settings, assistant_folder, load_settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented() -> None:
    page = DOCS.read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"`KEFU_{name.upper()}`" not in page]
    assert not missing


def test_environment_is_read_and_options_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEFU_HOME", str(tmp_path))
    monkeypatch.setenv("KEFU_PORT", "9001")
    monkeypatch.setenv("KEFU_ALLOWED_ORIGINS", "https://a.example, https://b.example")
    settings = load_settings(port=9002)
    assert (settings.home, settings.port) == (tmp_path, 9002)
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_a_wrong_value_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFU_PORT", "many")
    with pytest.raises(ConfigurationError, match="KEFU_PORT"):
        load_settings()


@pytest.mark.parametrize("wrong", ["10.0.0.0/99", "proxy.internal", "*,10.0.0.1"])
def test_a_proxy_that_no_request_would_come_from_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"KEFU_TRUSTED_PROXIES.*give addresses"):
        load_settings(trusted_proxies=wrong)


@pytest.mark.parametrize("right", ["", "*", "10.0.0.1", "10.0.0.0/8, fd00::/8"])
def test_trusted_proxies_are_addresses_and_networks(right: str) -> None:
    assert (load_settings(trusted_proxies=right).trusted_proxies or "") == right


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    first = settings.secret()
    assert settings.secret() == first
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert load_settings(home=tmp_path / "other").secret() != first


def test_assistant_folder_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert assistant_folder(settings, None) == STARTER
    (tmp_path / "domain.yml").write_text("version: '3.1'\n")
    assert assistant_folder(settings, None) == tmp_path
    assert assistant_folder(settings, tmp_path / "x") == tmp_path / "x"


def test_what_learns_takes_no_more_threads_than_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings(home=tmp_path, threads=1).learning_threads == 1
    monkeypatch.delenv("KEFU_THREADS", raising=False)
    assert load_settings(home=tmp_path).learning_threads == os.cpu_count()
