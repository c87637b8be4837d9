"""Settings, from the environment (`KTRDR_OTEL_...`) or given by the caller, validated once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ktrdr_otel.errors import SettingsError

_FILE = "sqlite:///"


def default_database() -> str:
    """The URL of the embedded store in the user's state folder."""
    return f"{_FILE}{user_state_path('ktrdr-otel') / 'operations.db'}"


class Settings(BaseSettings):
    """What can be set; each field is the environment variable `KTRDR_OTEL_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="KTRDR_OTEL_", frozen=True, extra="forbid")

    database: str = Field(default_factory=default_database)  # SQLAlchemy URL, or a path of a SQLite file
    lease_seconds: float = Field(default=15.0, gt=0)  # no heartbeat for so long: lost
    flush_interval_seconds: float = Field(default=0.25, gt=0)  # a crash loses at most so much of step rows
    poll_interval_seconds: float = Field(default=0.05, gt=0)  # how stale live state may be
    shutdown_timeout_seconds: float = Field(default=5.0, gt=0)  # bound on flushing at an end
    live: Literal["snapshot", "markers", "off"] = "markers"  # how open spans are exported, see docs/traces.md
    logs: Literal["on", "off"] = "on"  # the last records that the program logs are kept as evidence
    watcher: Literal["auto", "off"] = "auto"  # a process beside the observed one: stacks, suspensions, deaths
    stall_floor_seconds: float = Field(default=30.0, gt=0)  # no step is stalled before
    stall_unknown_seconds: float = Field(default=300.0, gt=0)  # a step that no completed run has had
    stall_factor: float = Field(default=5.0, gt=0)  # times its 99th percentile a step may take
    notify: SecretStr | None = (
        None  # Apprise URLs, with spaces between them: told of stalls, recoveries and ends
    )
    display: Literal["auto", "live", "plain", "json", "off"] = "auto"

    @property
    def heartbeat_interval_seconds(self) -> float:
        """How often a sign of life is stored."""
        return heartbeat_interval_seconds(self.lease_seconds)

    @property
    def database_url(self) -> str:
        """The store as a SQLAlchemy URL; a bare path names a SQLite file.

        That of a file is absolute: processes beside this one work elsewhere, and this one may go elsewhere.
        """
        if "://" not in self.database:
            return f"{_FILE}{_absolute(Path(self.database).expanduser())}"
        if self.database.startswith(_FILE):
            path, mark, options = self.database.removeprefix(_FILE).partition("?")
            if path not in ("", ":memory:") and not path.startswith("file:"):
                return f"{_FILE}{_absolute(Path(path))}{mark}{options}"
        return self.database


def heartbeat_interval_seconds(lease_seconds: float) -> float:
    """Every 2 s, and at most a fifth of the lease."""
    return min(2.0, lease_seconds / 5)


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise SettingsError(
            f"database {path}: the folder that it is relative to is gone; give it whole"
        ) from error


def load_settings(**given: object) -> Settings:
    """Settings from the environment, overridden by what is given and not None.

    Raises `SettingsError` that names the setting and what is wrong with it.
    """
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type] # validated by pydantic
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"{said_as(first['loc'], given)}: {first['msg']}, not {first['input']!r}"
        ) from None


def said_as(place: tuple[int | str, ...], given: Mapping[str, object]) -> str:
    """The name under which whoever set it knows it: of what was given, or of the environment variable."""
    name = "_".join(str(part) for part in place)
    return f"KTRDR_OTEL_{name.upper()}" if given.get(name) is None else name
