"""Channels that a project brings itself: credentials.yml names a class by its module path, as in Rasa.

Invariant: what is made has the shape of `connectors.base.Connector`; whatever else a name leads to is an error that
says what to do. The project's folder is appended to `sys.path`, so that it cannot shadow what Kefu imports.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bot.errors import ConfigurationError
from connectors.base import Connector

_EVERY = ("name", "limits", "routes")
_PUSHING = ("can_repeat", "hold_s")
HOW = "docs/connectors.md shows how to write one"


def own_channel(path: str, folder: Path) -> Callable[..., Connector]:
    """What makes the channel `path` ("my_channels.MyChannel") of the project in `folder`, given its settings.

    Raises:
        ConfigurationError: there is no such class, or it is none of ours; the maker raises it for a class that lacks
            something.
    """
    folder = folder.resolve()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    module, _, name = path.rpartition(".")
    kind = getattr(_imported(path, module, folder), name, None)
    if not isinstance(kind, type):
        raise ConfigurationError(f"credentials.yml: {path}: the module {module} has no class {name}")
    if hasattr(kind, "blueprint"):
        raise ConfigurationError(_of_rasa(path))
    return lambda **settings: _checked(path, kind(**settings))


def _imported(path: str, module: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # the company's code may raise anything while it is imported
        missing = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        if missing.partition(".")[0] == "rasa":
            raise ConfigurationError(_of_rasa(path)) from error
        if missing and module.startswith(missing):
            raise ConfigurationError(f"credentials.yml: {path}: there is no module {missing} in {folder}") from error
        raise ConfigurationError(
            f"credentials.yml: {path}: its module cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _checked(path: str, channel: Any) -> Connector:
    names = (*_EVERY, *_PUSHING) if hasattr(channel, "send") else _EVERY
    if missing := [name for name in names if not hasattr(channel, name)]:
        raise ConfigurationError(f"credentials.yml: {path}: the class has no {', '.join(missing)}; {HOW}")
    made: Connector = channel
    return made


def _of_rasa(path: str) -> str:
    return (
        f"credentials.yml: {path} is a channel of Rasa's, which needs Rasa itself to run; "
        f"write it anew as a channel of Kefu's ({HOW}), or let it pass its messages to /webhooks/rest/webhook"
    )
