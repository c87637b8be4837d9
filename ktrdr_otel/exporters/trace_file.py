"""Traces in a file: OTLP JSON, one request a line, as the collector's file receiver reads it."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.delivery import AccountableExporter, Delivery, Fate
from ktrdr_otel.exporters.sdk_log import overheard

_FILE_LOGGER = "opentelemetry.exporter.otlp.json.file.trace_exporter"


def trace_file_exporter(path: Path) -> SpanExporter:
    """An exporter that appends to the file, which exists from now on, with its folder.

    Raises `SettingsError` if the file cannot be written or the extra `trace-file` is not installed.
    """
    try:
        return TraceFileExporter(path)
    except ImportError as error:
        raise SettingsError("a trace file needs: pip install 'ktrdr-otel[trace-file]'") from error
    except OSError as error:
        raise SettingsError(f"trace file {path}: {error.strerror}") from error


class TraceFileExporter(AccountableExporter):
    """Appends each batch as one line."""

    is_archive = True  # it is read afterwards: finished spans alone, each once

    def __init__(self, path: Path) -> None:
        from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

        path.parent.mkdir(parents=True, exist_ok=True)
        self.target = f"the file {path}"
        self._lines = WholeLines(path)
        self._exporter = FileSpanExporter(stream=cast("IO[str]", self._lines))

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Whether the line is in the file."""
        with overheard(_FILE_LOGGER) as notes:
            if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                return Delivery(Fate.DELIVERED)
        error = next((note.exc_info[1] for note in reversed(notes) if note.exc_info), None)
        # A full disk may be emptied; a span that cannot be written as JSON stays what it is.
        fate = Fate.UNREACHABLE if isinstance(error, OSError) else Fate.INDIGESTIBLE
        return Delivery(fate, error=f"{type(error).__name__}: {error}" if error else "the file is closed")

    def shutdown(self) -> None:
        """The file is closed."""
        with overheard(_FILE_LOGGER):
            self._exporter.shutdown()
        self._lines.close()


class WholeLines(io.TextIOBase):
    """A text file to which each write is appended whole or not at all."""

    def __init__(self, path: Path) -> None:
        binary = getattr(os, "O_BINARY", 0)  # Windows would write line ends of its own
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | binary, 0o644)
        size = os.fstat(self._descriptor).st_size
        if size:
            os.lseek(self._descriptor, size - 1, os.SEEK_SET)
            if os.read(self._descriptor, 1) != b"\n":
                self.write("\n")  # another writer was cut off: its line spoils only itself

    def write(self, text: str, /) -> int:
        """Characters written: all of them. Where there is no room it raises OSError, the file as before."""
        line = text.encode()
        before = os.fstat(self._descriptor).st_size
        # One system call for the line: whoever is killed in between had nothing half in a buffer.
        written = os.write(self._descriptor, line)
        if written != len(line):
            os.ftruncate(self._descriptor, before)
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        return len(text)

    def close(self) -> None:
        """The file is closed."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
