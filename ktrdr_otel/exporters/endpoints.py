"""Endpoints of OTLP receivers: checked, completed, and shown without what is secret in them."""

from urllib.parse import urlsplit, urlunsplit

from ktrdr_otel.errors import SettingsError

TRACES_PATH = "/v1/traces"


def traces_url(base: str, setting: str = "otlp_endpoint") -> str:
    """The URL that takes traces at an OTLP/HTTP receiver: `http://host:4318` -> `http://host:4318/v1/traces`.

    Raises `SettingsError` that names the setting if it is no http(s) URL.
    """
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{setting}: {shown(base)} is no URL like http://localhost:4318")
    path = parts.path.rstrip("/")
    if not path.endswith(TRACES_PATH):
        path += TRACES_PATH
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def shown(url: str) -> str:
    """The URL for people and logs: without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
