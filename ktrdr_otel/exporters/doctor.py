"""Whether an OTLP/HTTP receiver answers, for `ktrdr-otel doctor`."""

import os

from opentelemetry.util.re import parse_env_headers

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.endpoints import shown, traces_url

_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


def probe_endpoint(url: str, timeout_seconds: float = 3.0) -> str | None:
    """None if the receiver takes an empty export, else one line that says what it did instead.

    It is sent the headers of `OTEL_EXPORTER_OTLP_HEADERS`, as with an export; neither they nor a password in
    the URL are in the answer.
    """
    import requests

    try:
        target = traces_url(url, "endpoint")
    except SettingsError as error:
        return str(error)
    given = next((value for name in _HEADERS if (value := os.environ.get(name))), "")
    headers = {**parse_env_headers(given, liberal=True), "Content-Type": "application/x-protobuf"}
    try:
        # An export request without spans is encoded as no bytes.
        answer = requests.post(
            target, data=b"", headers=headers, timeout=timeout_seconds, allow_redirects=False
        )
    except requests.Timeout:
        return f"{shown(target)}: no answer within {timeout_seconds:g} s"
    except requests.ConnectionError:
        return f"{shown(target)}: nobody answers there"
    except requests.RequestException as error:
        return f"{shown(target)}: {type(error).__name__}"
    if answer.status_code != requests.codes.ok:
        return f"{shown(target)}: HTTP {answer.status_code} {answer.reason}"
    return None
