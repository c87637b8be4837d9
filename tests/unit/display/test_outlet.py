"""Where lines go, and what happens when nobody reads them."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from ktrdr_otel.display.outlet import LineOutlet


def test_every_line_is_flushed_at_once(tmp_path: Path) -> None:
    """A reader sees the line before the next one is there."""
    path = tmp_path / "lines"
    with path.open("w", buffering=1 << 20) as stream:
        LineOutlet(stream).line("first")

        assert path.read_text() == "first\n"


def test_a_letter_that_the_encoding_lacks_is_shown_as_its_code() -> None:
    """An ASCII locale costs letters, not the line."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    LineOutlet(stream).line("Epoch 1/5 · Batch")
    stream.seek(0)

    assert stream.read() == "Epoch 1/5 \\xb7 Batch\n"


def test_a_closed_file_is_silence() -> None:
    """What the program has closed is closed."""
    stream = io.StringIO()
    outlet = LineOutlet(stream)
    outlet.line("one")
    stream.close()

    outlet.line("two")
    outlet.line("three")


def test_a_full_disk_is_silence() -> None:
    """`/dev/full` refuses every byte."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        stream = io.TextIOWrapper(full)
        outlet = LineOutlet(stream)
        outlet.line("one")
        outlet.line("two")
        with contextlib.suppress(OSError):
            stream.detach()


def test_a_reader_that_leaves_does_not_end_the_run() -> None:
    """The process ends with its own exit code, not with the interpreter's 120 for a broken pipe."""
    program = (
        "import sys\n"
        "from ktrdr_otel.display.outlet import LineOutlet\n"
        "outlet = LineOutlet(sys.stdout)\n"
        "outlet.line('ready')\n"
        "sys.stdin.readline()\n"
        "for _ in range(3): outlet.line('nobody hears this')\n"
        "sys.stderr.write('done')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (0, "done")
