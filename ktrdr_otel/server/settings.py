"""How the server is reached and by whom, from the environment or given by the caller."""

import ipaddress
from typing import Final
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.notify import check_notify
from ktrdr_otel.operations.models import Operation
from ktrdr_otel.settings import said_as

DEFAULT_PORT: Final = 9464
_SHORTEST_TOKEN: Final = 16


class ServerSettings(BaseSettings):
    """What can be set; each field is the environment variable `KTRDR_OTEL_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="KTRDR_OTEL_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)  # 0: any that is free
    token: SecretStr | None = None  # whoever asks must have it; without it only this machine may
    allowed_hosts: str = ""  # further names by which the server is reached, with commas between them
    trace_url: str | None = None  # such as http://localhost:16686/trace/{trace_id}
    dashboard_url: str | None = None  # such as http://localhost:3000/d/ktrdr?var-operation={operation_id}
    keep_days: float | None = Field(default=None, gt=0)  # steps of operations that ended before are deleted
    notify: SecretStr | None = None  # Apprise URLs, with spaces between them
    max_connections: int = Field(default=1500, ge=1)  # further ones are refused

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside of this machine can reach it."""
        return self.host == "localhost" or _is_loopback(self.host)

    @property
    def host_names(self) -> frozenset[str]:
        """What a `Host` header may say."""
        named = {name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip()}
        return frozenset(named | {"localhost", "127.0.0.1", "::1", self.host.lower()})

    def links(self, operation: Operation) -> dict[str, str | None]:
        """Where else to look at the operation: its trace and its dashboard."""
        return {
            "trace": _filled(self.trace_url, operation) if operation.trace_id else None,
            "dashboard": _filled(self.dashboard_url, operation),
        }


def load_server_settings(**given: object) -> ServerSettings:
    """Settings from the environment, overridden by what is given and not None.

    Raises `SettingsError`: for a value that cannot be used, and for an address beyond this machine without a token.
    """
    try:
        settings = ServerSettings(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type] # validated by pydantic
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # the input may be the token
        raise SettingsError(f"{said_as(first['loc'], given)}: {first['msg']}") from error
    token = settings.token
    if token is not None and len(token.get_secret_value()) < _SHORTEST_TOKEN:
        raise SettingsError(
            f"{said_as(('token',), given)}: a token has at least {_SHORTEST_TOKEN} characters"
        )
    if token is None and not settings.is_loopback:
        raise SettingsError(
            f"--host {settings.host} can be reached from other machines: set KTRDR_OTEL_TOKEN to a secret of "
            f"{_SHORTEST_TOKEN} or more characters, or leave --host at 127.0.0.1"
        )
    if settings.notify is not None:
        check_notify(settings.notify.get_secret_value(), said_as(("notify",), given))
    for name in ("trace_url", "dashboard_url"):
        _check_template(said_as((name,), given), getattr(settings, name))
    return settings


def is_address(host: str) -> bool:
    """Whether the host is an IP address rather than a name, which anyone's DNS could point here."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _check_template(setting: str, template: str | None) -> None:
    if template is None:
        return
    if not template.startswith(("http://", "https://")):
        raise SettingsError(f"{setting}: a link begins with http:// or https://, not {template!r}")
    try:
        template.format(trace_id="", operation_id="")
    except (KeyError, IndexError, ValueError) as error:
        raise SettingsError(
            f"{setting}: only {{trace_id}} and {{operation_id}} can stand in it, not {template!r}"
        ) from error


def _filled(template: str | None, operation: Operation) -> str | None:
    if template is None:
        return None
    return template.format(
        trace_id=quote(operation.trace_id or "", safe=""), operation_id=quote(operation.operation_id, safe="")
    )
