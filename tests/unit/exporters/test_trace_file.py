"""Traces in a file."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.providers import private_provider
from ktrdr_otel.exporters.trace_file import WholeLines, trace_file_exporter


def spans_in(path: Path) -> list[dict[str, object]]:
    """The spans of all lines."""
    return [
        span
        for line in path.read_text().splitlines()
        for resource_spans in json.loads(line)["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]


def test_spans_are_otlp_json(tmp_path: Path) -> None:
    """Ids are hexadecimal, parents are right, and a second run appends."""
    path = tmp_path / "new" / "folder" / "trace.jsonl"
    for _ in range(2):
        pinned = private_provider(trace_file=path)
        with pinned.tracer.start_as_current_span("root") as root:
            pinned.tracer.start_span("child").end()
        assert pinned.shutdown(5)
    spans = spans_in(path)
    assert [span["name"] for span in spans] == ["child", "root"] * 2
    assert spans[3]["spanId"] == f"{root.get_span_context().span_id:016x}"
    assert spans[2]["parentSpanId"] == spans[3]["spanId"]


def test_an_unwritable_file_is_said_before_anything_runs(tmp_path: Path) -> None:
    """One line names the file and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"trace file .*file/trace.jsonl: (Not a directory|File exists)"):
        trace_file_exporter(tmp_path / "file" / "trace.jsonl")
    with pytest.raises(SettingsError, match=r"trace file .*: Is a directory"):
        trace_file_exporter(tmp_path)


def test_a_missing_extra_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says what to install, and nothing is made."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.json.file.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'ktrdr-otel\[trace-file\]'"):
        trace_file_exporter(tmp_path / "trace.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_was_cut_off_spoils_only_itself(tmp_path: Path) -> None:
    """What is written after a half line begins on a line of its own."""
    path = tmp_path / "trace.jsonl"
    path.write_text('{"half')
    lines = WholeLines(path)
    lines.write('{"whole":1}\n')
    lines.close()
    assert path.read_text() == '{"half\n{"whole":1}\n'


def test_a_line_without_room_is_not_written_at_all(tmp_path: Path) -> None:
    """Where a limit cuts a write short, the file is as it was before."""
    path = tmp_path / "trace.jsonl"
    program = textwrap.dedent(
        f"""
        import resource, signal, pathlib
        from ktrdr_otel.exporters.trace_file import WholeLines
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        lines = WholeLines(pathlib.Path({str(path)!r}))
        lines.write("a" * 99 + "\\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
        try:
            lines.write("b" * 99 + "\\n")
        except OSError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=dict(os.environ)
    )
    assert done.stdout == "only 50 of 100 bytes could be written\n", done.stderr
    assert path.read_text() == "a" * 99 + "\n"
