"""What another process is told, so that it can send to the same receiver."""

import os

import pytest

from ktrdr_otel.exporters.otlp import OtlpHttpExporter
from ktrdr_otel.exporters.receivers import environment_for


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of OpenTelemetry is set."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=token")
    monkeypatch.setenv("SOMETHING_ELSE", "secret")


def test_the_settings_of_the_exporter_are_told_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its endpoint, headers and whatever else concerns OTLP; of the rest only what a program needs to run."""
    told = environment_for(OtlpHttpExporter("http://jaeger:4318/v1/traces"))
    assert told["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://jaeger:4318/v1/traces"
    assert told["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=token"
    assert "SOMETHING_ELSE" not in told


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_TRACES_CREDENTIAL_PROVIDER",
    ],
)
def test_a_credential_provider_finds_all_that_it_finds_here(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is code of somebody else's: what it reads is not known. But no other exporter is made beside it."""
    exporter = OtlpHttpExporter("http://jaeger:4318/v1/traces")
    monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console,otlp")
    told = environment_for(exporter)
    assert (told[name], told["SOMETHING_ELSE"]) == ("theirs", "secret")
    assert "OTEL_TRACES_EXPORTER" not in told
