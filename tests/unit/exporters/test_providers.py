"""Whose provider an operation uses, and what a private one is like."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.providers import (
    PinnedProvider,
    attach_processor,
    choose_provider,
    private_provider,
    standard_resource,
)

NOWHERE = "http://127.0.0.1:9"


class Witness(SpanProcessor):
    """Notes the names of the spans that it sees."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Noted."""
        self.started.append(span.name)

    def on_end(self, span: ReadableSpan) -> None:
        """Noted."""
        self.ended.append(span.name)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of OpenTelemetry is configured."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """An application that has installed a provider of its own."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield provider, exporter
    provider.shutdown()


def names(exporter: InMemorySpanExporter) -> list[str]:
    """Names of the exported spans."""
    return [span.name for span in exporter.get_finished_spans()]


def test_an_applications_provider_is_used(
    application: tuple[TracerProvider, InMemorySpanExporter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its pipeline alone exports, our processor sees the spans, and its shutdown stays its own business."""
    provider, exporter = application
    witness = Witness()
    pinned = choose_provider(processors=[witness], trace_file=tmp_path / "unused")
    assert (pinned.provider, pinned.is_private, pinned.queue) == (provider, False, None)
    pinned.tracer.start_span("one").end()
    assert pinned.shutdown(5)
    pinned.tracer.start_span("two").end()
    assert names(exporter) == ["one", "two"]
    assert witness.ended == ["one", "two"]
    assert not (tmp_path / "unused").exists()
    assert "trace file of this operation are not used" in caplog.text


def test_an_applications_processor_that_hangs_does_not_hold_us() -> None:
    """A flush of the application's provider is bounded, whatever its processors do."""
    release = threading.Event()

    class Hangs(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return release.wait(20)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Hangs())
    pinned = PinnedProvider(provider, provider.get_tracer("tests"), False, None, "the application's")
    before = time.monotonic()
    assert not pinned.flush(0.05)
    assert time.monotonic() - before < 5
    release.set()
    assert pinned.flush(5)


def test_a_provider_installed_later_serves_the_next_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each choice looks at the provider that is installed at that moment; what was pinned stays."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    first = choose_provider()
    assert first.is_private
    later = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(later)
    assert choose_provider().provider is later
    assert first.is_private


def test_a_private_provider_leaves_the_global_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application may still install its own."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    choose_provider()
    assert trace._TRACER_PROVIDER is None


@pytest.mark.usefixtures("application")
def test_a_disabled_sdk_records_and_exports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SDK_DISABLED` is respected, whoever has installed a provider."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    pinned = choose_provider()
    assert pinned.is_private
    assert pinned.queue is None
    assert not pinned.tracer.start_span("nothing").is_recording()


def test_a_processor_is_attached_once() -> None:
    """However often it is attached, it sees each span once."""
    provider = TracerProvider(shutdown_on_exit=False)
    witness = Witness()
    assert attach_processor(provider, witness)
    assert not attach_processor(provider, witness)
    provider.get_tracer("tests").start_span("one").end()
    assert witness.started == witness.ended == ["one"]


def test_an_attached_processor_survives_the_providers_shutdown() -> None:
    """The application shuts its provider down; progress goes on."""
    provider = TracerProvider(shutdown_on_exit=False)
    witness = Witness()
    attach_processor(provider, witness)
    provider.shutdown()
    provider.get_tracer("tests").start_span("after").end()
    assert witness.ended == ["after"]


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio", "always_off"])
def test_at_ratio_zero_progress_sees_every_span(
    monkeypatch: pytest.MonkeyPatch, sampler: str, tmp_path: Path
) -> None:
    """Processors are called, nothing is exported."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    witness = Witness()
    pinned = private_provider(processors=[witness], trace_file=tmp_path / "trace.jsonl")
    with pinned.tracer.start_as_current_span("root"):
        pinned.tracer.start_span("child").end()
    assert pinned.shutdown(5)
    assert witness.ended == ["child", "root"]
    assert (tmp_path / "trace.jsonl").read_text() == ""


def test_the_resource_is_named_by_whom_the_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SERVICE_NAME`, else the resource attributes, else our own name; the instance has an id."""
    resource = standard_resource()
    assert resource.attributes["service.name"] == "ktrdr-otel"
    assert resource.attributes["service.instance.id"]
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=by-attributes,team=quant")
    assert standard_resource().attributes["service.name"] == "by-attributes"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "by-name")
    attributes = standard_resource().attributes
    assert (attributes["service.name"], attributes["team"]) == ("by-name", "quant")


def described(pinned: PinnedProvider) -> str:
    """The description of a provider that is not needed any more."""
    pinned.shutdown(0.1)
    return pinned.description


@pytest.mark.parametrize(
    ("variables", "target"),
    [
        ({}, "which exports nothing"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}, "which exports nothing"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}, f"OTLP/HTTP {NOWHERE}/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{NOWHERE}/mine"}, f"OTLP/HTTP {NOWHERE}/mine"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@host:4318/?key=secret"},
            "OTLP/HTTP http://host:4318/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, "OTLP/gRPC http://127.0.0.1:4317"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            f"OTLP/gRPC {NOWHERE}",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTLP/HTTP http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "ConsoleSpanExporter"),
    ],
)
def test_the_standard_variables_choose_the_exporter(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], target: str
) -> None:
    """As the OpenTelemetry specification says; nothing secret is shown."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert described(private_provider()) == f"a private provider, {target}"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "carrier-pigeon"},
            "OTEL_TRACES_EXPORTER: there is no exporter 'carrier-pigeon'",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not supported",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: .* is no URL"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_BSP_MAX_QUEUE_SIZE": "many"},
            "OTEL_BSP_MAX_QUEUE_SIZE: 'many' is no positive whole number",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    """One line says which variable and what is wrong with it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        private_provider()


def test_a_given_endpoint_is_a_base_url() -> None:
    """The traces path is added, unless it is there."""
    for given in ("http://host:4318", "http://host:4318/", "http://host:4318/v1/traces"):
        assert described(private_provider(otlp_endpoint=given)).endswith(
            "OTLP/HTTP http://host:4318/v1/traces"
        )
    with pytest.raises(SettingsError, match=r"otlp_endpoint: nonsense is no URL"):
        private_provider(otlp_endpoint="nonsense")


def test_a_wrong_endpoint_leaves_no_trace_file(tmp_path: Path) -> None:
    """Settings are checked before anything is made."""
    with pytest.raises(SettingsError):
        private_provider(otlp_endpoint="nonsense", trace_file=tmp_path / "trace.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_http_and_grpc_are_loaded_only_when_they_are_needed() -> None:
    """A provider without an OTLP exporter loads neither client."""
    program = (
        "import sys; from ktrdr_otel.exporters.providers import private_provider; private_provider();"
        "print(sorted({'requests', 'grpc', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={})
    assert done.stdout == "[]\n", done.stderr
