"""`kefu wechat …`: what is set up once at WeChat itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from bot.commands.console import ModelFolder, good, with_database
from bot.errors import ConfigurationError

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.settings import Settings

wechat = typer.Typer(help="What is set up once at WeChat itself.", no_args_is_help=True)


@wechat.callback()
def _group() -> None:
    """Keeps `menu` a command of its own: a group of one would take its place."""


@wechat.command("menu")
def wechat_menu(folder: ModelFolder = None) -> None:
    """Replace the Official Account's menu by `menu:` of `wechat:` in credentials.yml."""
    from bot.channels import wechat_account
    from bot.settings import environment
    from bot.storage.hub import Hub
    from bot.storage.ports import SqlPorts
    from connectors.base import ConnectorError

    async def push(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        account = wechat_account(assistant.credentials, environment())
        if account.options.menu is None:
            raise ConfigurationError("wechat: has no `menu:` in credentials.yml (docs/wechat.md shows one)")
        try:
            await account.push_menu(SqlPorts(db, Hub(), assistant.assistant_id))
        except ConnectorError as error:
            raise ConfigurationError(f"the menu was not taken: {error}") from error
        good("the menu is set", "; WeChat shows it to those who open the account anew, at the latest in 24 hours")

    with_database(folder, push)
