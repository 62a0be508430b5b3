"""The only reader of the environment. Everything else is passed what it needs.

Invariant: a Settings value is complete: the secret exists, KEFU_HOME is absolute.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.errors import ConfigurationError

STARTER = Path(__file__).parent / "starter"


class Settings(BaseSettings):
    """One field per variable `KEFU_<NAME>`; docs/settings.md lists them."""

    model_config = SettingsConfigDict(env_prefix="KEFU_", frozen=True, extra="ignore")

    home: Path = Field(Path(".kefu"), description="Folder for models, database and the generated secret.")
    assistant: Path | None = Field(
        None, description="Assistant folder; default: the current folder if it is one, else the starter."
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: kefu.db under KEFU_HOME.")
    knowledge_store: Literal["files", "postgresql"] = Field(
        "files",
        description="Where the index of documents is: under KEFU_HOME, or in the PostgreSQL of the database URL.",
    )
    host: str = Field("127.0.0.1", description="Address that `kefu serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `kefu serve` listens on.")
    secret_key: str | None = Field(None, description="Signs visitor tokens; default: generated once under KEFU_HOME.")
    widget_secret: str | None = Field(None, description="Verifies the identity tokens (HS256) of your own website.")
    widget_strict: bool = Field(False, description="Serve nobody in the web chat whom your own website did not name.")
    api_token: str | None = Field(
        None, description="Token of Rasa's HTTP API (`?token=` or bearer) and of /metrics, once set."
    )
    jwt_secret: str | None = Field(
        None, description="Verifies the JWTs of Rasa's HTTP API; a public key for RS256 or ES256."
    )
    jwt_method: str = Field("HS256", description="How those JWTs are signed.")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins that may embed the widget; empty: all."
    )
    models: str | None = Field(
        None, description="Where models serve, `ray://host:port[,host:port]`; default: in this process."
    )
    threads: int = Field(0, ge=0, description="Inference threads; 0: half of the machine's cores, at most 4.")
    max_waiting: int = Field(2_000, ge=1, description="Unanswered messages above which new ones get 503.")
    refusals_per_min: int = Field(
        30, ge=0, description="Refusals (bad signature, token, identity) of one address a minute; then 429. 0: any."
    )
    trusted_proxies: str | None = Field(
        None, description="Comma-separated addresses or networks of proxies; default: those on this machine."
    )
    files_url: str | None = Field(
        None, description="Folder or fsspec URL where customers' files are kept; default: files under KEFU_HOME."
    )
    files_types: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="Comma-separated kinds of files that are taken; empty: none."
    )
    files_max_mb: float = Field(10, gt=0, le=100, description="Size up to which a file is taken.")
    files_total_gb: float = Field(10, gt=0, description="Room for all files together; then none is taken.")
    files_keep_days: float = Field(90, gt=0, description="Days after which a file is deleted.")
    files_link_min: float = Field(60, gt=0, le=7 * 24 * 60, description="Minutes that a link to a file works.")

    @field_validator("home", "assistant")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value

    @field_validator("allowed_origins", "files_types", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        """The server takes whatever is no address for a name, which no request ever comes from."""
        for part in value.split(",") if value and value != "*" else ():
            try:
                ip_network(part.strip())
            except ValueError as error:
                raise ValueError(f"{error}; give addresses, networks such as 10.0.0.0/8, or * alone") from error
        return value or None

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'kefu.db'}"

    @property
    def files_place(self) -> str:
        return self.files_url or str(self.home / "files")

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    def knowledge_dir(self, assistant_id: str) -> Path:
        """Where what was read from the assistant's documents lies."""
        return self.home / "knowledge" / assistant_id

    def suggest_dir(self, assistant_id: str) -> Path:
        """Where the vectors of the assistant's catalogue lie."""
        return self.home / "suggest" / assistant_id

    @property
    def bases_dir(self) -> Path:
        return self.home / "bases"

    @property
    def inference_threads(self) -> int:
        # The other half answers requests and writes the database; with all cores in the model they only wait.
        return self.threads or max(1, min(4, (os.cpu_count() or 1) // 2))

    @property
    def learning_threads(self) -> int:
        """Of what reads documents and learns from them: every core, where KEFU_THREADS says no less."""
        return self.threads or os.cpu_count() or 1

    def secret(self) -> bytes:
        """The signing secret: KEFU_SECRET_KEY, else one generated once and kept under KEFU_HOME (mode 0600)."""
        if self.secret_key:
            return self.secret_key.encode()
        path = self.home / "secret.key"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(fresh, path)  # the first process to link wins; the others read its secret
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_text().strip().encode()


def load_settings(**overrides: object) -> Settings:
    """Read KEFU_* once; keyword arguments (from the command line) win, None means "not given"."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"KEFU_{name.upper()}: {first['msg']} (see docs/settings.md)") from error


def environment() -> Mapping[str, str]:
    """The variables that `${VAR}` in an assistant's YAML may name."""
    return dict(os.environ)


@contextmanager
def scratch_home() -> Iterator[Path]:
    """KEFU_HOME names an empty folder while this lasts: what custom actions keep of a rehearsal goes with it.

    It changes the environment of the whole process: for commands, never for a process that serves customers.
    """
    before = os.environ.get("KEFU_HOME")
    with tempfile.TemporaryDirectory(prefix="kefu-rehearsal-") as folder:
        os.environ["KEFU_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["KEFU_HOME"]
            else:
                os.environ["KEFU_HOME"] = before


def publish_home(settings: Settings) -> None:
    """Make KEFU_HOME and name it in the environment, where custom actions (the company's code) look for it."""
    settings.home.mkdir(parents=True, exist_ok=True)
    os.environ["KEFU_HOME"] = str(settings.home)


def prepare_ray() -> None:
    """Before Ray is imported, which reads its environment then; a company's own values win.

    Ray tells its makers how it is used unless told not to. And `ray start` asks for a token where this user has one,
    while a process that joins the cluster shows it only when told to.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if has_token or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def assistant_folder(settings: Settings, given: Path | None) -> Path:
    """The folder to serve: as given, KEFU_ASSISTANT, the current one if it holds a domain, else the starter."""
    if given is not None:
        return given.expanduser().absolute()
    if settings.assistant is not None:
        return settings.assistant
    here = Path.cwd()
    return here if (here / "domain.yml").exists() or (here / "domain").is_dir() else STARTER
