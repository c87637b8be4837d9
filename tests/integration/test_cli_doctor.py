"""`ktrdr-otel doctor`: what is configured, what answers, what to do."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.command_line import answer, interpreter_without_py_spy, ktrdr_otel
from tests.integration.otlp_receivers import GrpcReceiver, HttpReceiver


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A store that is not there yet."""
    return tmp_path / "operations.db"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An OTLP/HTTP receiver that takes everything."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens, kept so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_sound_installation_ends_well(database: Path) -> None:
    """Python, platform, every setting with its source, the store and the receiver, in words and as JSON."""
    done = ktrdr_otel("doctor", database=database)
    found = answer(ktrdr_otel("doctor", "--json", database=database))

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    said = [each["what"] for each in found]
    assert f"database = {database}  (KTRDR_OTEL_DATABASE)" in said
    assert "lease_seconds = 15.0  (default)" in said
    assert f"{database} opens; 0 operations" in said
    assert {"python", "platform", "setting", "store", "traces", "watcher", "open spans", "extra"} == {
        each["name"] for each in found
    }
    assert all(each["what"] in done.stdout for each in found)
    extras = {each["what"] for each in found if each["name"] == "extra"}
    assert {"notify is installed", "gpu is installed", "stacks is installed"} <= extras


def test_what_the_watcher_can_do_here_is_tried(database: Path, tmp_path: Path) -> None:
    """Whether the kernel tells of what a process died, and whether py-spy may look; else what to do."""

    def said(**environment: str) -> dict[str, str | None]:
        found = answer(ktrdr_otel("doctor", "--json", database=database, environment=environment))
        return {each["what"]: each["advice"] for each in found if each["name"] == "watcher"}

    here = said()
    assert "stacks: py-spy takes them from outside, also while the interpreter's lock is held" in here
    if tuple(int(each) for each in os.uname().release.split(".")[:2]) >= (6, 15):
        assert "deaths: the kernel tells signal and exit code" in here
    [off] = said(KTRDR_OTEL_WATCHER="off")
    assert off.startswith("off: ")
    done = subprocess.run(
        [interpreter_without_py_spy(tmp_path), "-m", "ktrdr_otel", "doctor", "--database", str(database)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PATH": "/bin"},
    )
    assert "stacks: from inside alone" in done.stdout
    assert "pip install 'ktrdr-otel[stacks]'" in done.stdout


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        ("BatchSpanProcessor(exporter)", "off: the application's own provider exports"),
        ("LiveSpanProcessor(exporter, live='snapshot')", "snapshot, by the application's LiveSpanProcessor"),
    ],
)
def test_who_shows_open_spans_is_said(database: Path, processor: str, said: str) -> None:
    """Under an application's own provider its pipeline exports, and shows open spans if it uses our processor."""
    program = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider;"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor;"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter;"
        "from ktrdr_otel import LiveSpanProcessor; from ktrdr_otel.cli.findings import examine;"
        "exporter = InMemorySpanExporter(); provider = TracerProvider(); trace.set_tracer_provider(provider);"
        f"provider.add_span_processor({processor});"
        "print(next(each.what for each in examine(None, None) if each.name == 'open spans'))"
    )
    environment = dict(os.environ) | {"KTRDR_OTEL_DATABASE": str(database)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith(said), done.stderr


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("", "job: exported to {url}/v1/traces, open spans: snapshot"),
        (
            "trace.set_tracer_provider(TracerProvider())",
            "job: sent to no receiver by us",
        ),
    ],
)
def test_the_command_says_how_the_newest_run_was_exported(
    database: Path, receiver: HttpReceiver, setup: str, said: str
) -> None:
    """By itself or by its program's provider, which the command cannot see."""
    program = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider;"
        "from ktrdr_otel import observe\n"
        f"{setup}\n"
        "with observe('job', operation_id='job', display='off', live='snapshot'): pass"
    )
    told = {"KTRDR_OTEL_DATABASE": str(database), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **told})
    found = answer(ktrdr_otel("doctor", "--json", database=database))
    [newest] = [each["what"] for each in found if each["name"] == "newest run"]
    assert newest.startswith(said.format(url=receiver.url))


def test_a_trace_that_is_owed_is_said(database: Path) -> None:
    """Its receiver was away at its end."""
    program = "from ktrdr_otel import observe\nwith observe('job', display='off'): pass"
    told = {
        "KTRDR_OTEL_DATABASE": str(database),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS": "3",
    }
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, **told}, capture_output=True
    )
    said = ktrdr_otel("doctor", database=database).stdout
    assert "runs that are over whose receivers still lack spans: 1\n" in said


def test_what_is_given_outranks_the_environment(database: Path, tmp_path: Path) -> None:
    """The source of a setting is where it really comes from."""
    other = tmp_path / "other.db"
    done = ktrdr_otel("doctor", "--database", str(other), database=database)

    assert f"database = {other}  (--database)" in done.stdout
    assert f"{other} opens" in done.stdout


def test_a_receiver_that_answers_is_said(database: Path, receiver: HttpReceiver) -> None:
    """It has been sent an empty export, and took it."""
    done = ktrdr_otel("doctor", "--otlp-endpoint", receiver.url, database=database)

    assert done.returncode == 0
    assert f"{receiver.url} answers" in done.stdout


def test_a_receiver_that_does_not_answer_is_an_error(database: Path, nobody: int) -> None:
    """Exit code 1, what is wrong, and what to do about it."""
    url = f"http://127.0.0.1:{nobody}"
    done = ktrdr_otel("doctor", database=database, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": url})

    assert done.returncode == 1
    assert f"error    traces      {url}" in done.stdout
    assert "start a receiver there, or unset the endpoint" in done.stdout


def test_a_grpc_receiver_is_asked_for_a_connection(database: Path) -> None:
    """An HTTP request would be nonsense to it."""
    receiver = GrpcReceiver()
    url = f"http://127.0.0.1:{receiver.port}"
    try:
        done = ktrdr_otel(
            "doctor",
            database=database,
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
        )
    finally:
        receiver.close()

    assert done.returncode == 0
    assert f"{url} answers" in done.stdout


def test_secrets_are_not_shown(database: Path, nobody: int) -> None:
    """Neither a password in a URL nor a header leaves the program, in no form."""
    environment = {
        "KTRDR_OTEL_DATABASE": "postgresql+psycopg://me:hunter2@127.0.0.1:1/none?password=hunter2",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:hunter2@127.0.0.1:{nobody}",
    }
    done = ktrdr_otel("doctor", environment=environment)
    as_json = ktrdr_otel("doctor", "--json", environment=environment)

    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr + as_json.stdout + as_json.stderr
    assert {"store", "traces"} <= {
        each["name"] for each in json.loads(as_json.stdout) if each["state"] == "error"
    }


def test_a_misspelt_variable_is_a_warning(database: Path) -> None:
    """It would be ignored without a word; the near one is named."""
    done = ktrdr_otel("doctor", database=database, environment={"KTRDR_OTEL_LEASE_SECOND": "5"})

    assert done.returncode == 0
    assert "warning  setting     KTRDR_OTEL_LEASE_SECOND is no setting" in done.stdout
    assert "did you mean KTRDR_OTEL_LEASE_SECONDS?" in done.stdout


def test_a_setting_that_cannot_be_used_is_an_error(database: Path) -> None:
    """The variable is named, and the rest is examined all the same."""
    done = ktrdr_otel("doctor", database=database, environment={"KTRDR_OTEL_LEASE_SECONDS": "never"})

    assert done.returncode == 1
    assert "error    settings    KTRDR_OTEL_LEASE_SECONDS: " in done.stdout
    assert "traces" in done.stdout


def test_a_disabled_sdk_is_a_warning(database: Path) -> None:
    """Whoever wonders where the traces are reads why there are none."""
    done = ktrdr_otel("doctor", database=database, environment={"OTEL_SDK_DISABLED": "true"})

    assert done.returncode == 0
    assert "OTEL_SDK_DISABLED turns tracing off" in done.stdout
