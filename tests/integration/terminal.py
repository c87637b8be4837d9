"""A real pseudo-terminal for a program, and the screen that a person sees on it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

_TOKEN = re.compile(r"\x1b\[(?P<arguments>[?0-9;]*)(?P<command>[A-Za-z])|(?P<character>.)", re.DOTALL)


class Screen:
    """What escape codes make of a text: a terminal of that width that never forgets a line."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self.cursor_is_shown = True

    def feed(self, text: str) -> None:
        """The text has arrived."""
        for token in _TOKEN.finditer(text):
            if (character := token["character"]) is not None:
                self._put(character)
            else:
                self._obey(token["command"], token["arguments"])

    def lines(self) -> list[str]:
        """The lines that are not empty, without the space at their ends."""
        return [text for line in self._lines if (text := "".join(line).rstrip())]

    def _put(self, character: str) -> None:
        if character == "\n":
            self._down()
        elif character == "\r":
            self._column = 0
        elif character.isprintable():
            if self._column >= self._columns:
                self._down()
                self._column = 0
            line = self._lines[self._row]
            line.extend(" " * (self._column + 1 - len(line)))
            line[self._column] = character
            self._column += 1
        else:
            raise AssertionError(f"an unknown control character: {character!r}")

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    def _obey(self, command: str, arguments: str) -> None:
        if command == "A":
            self._row = max(self._row - int(arguments or 1), 0)
        elif command == "K":
            assert arguments == "2"
            self._lines[self._row].clear()
        elif command in "hl":
            assert arguments == "?25"
            self.cursor_is_shown = command == "h"
        else:
            assert command == "m", f"an unknown command: {arguments}{command}"


def run_in_terminal(
    arguments: list[str],
    *,
    columns: int = 100,
    rows: int = 30,
    environment: Mapping[str, str] | None = None,
    stderr: Path | None = None,
    timeout_seconds: float = 60.0,
) -> tuple[int, str]:
    """The exit code of this Python with those arguments on a new terminal, and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    given = {"TERM": "xterm-256color", "PYTHONUTF8": "1", **(environment or {})}
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    error_file = None if stderr is None else stderr.open("wb")
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs if error_file is None else error_file,
        env=kept | given,
        start_new_session=True,
    )
    os.close(theirs)
    if error_file is not None:
        error_file.close()
    try:
        written = _read_all(ours, time.monotonic() + timeout_seconds)
        return process.wait(timeout=timeout_seconds), written
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_all(terminal: int, deadline: float) -> str:
    pieces = []
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side has closed
            break
        if not piece:
            break
        pieces.append(piece)
    else:
        raise AssertionError(f"still running; so far it wrote {b''.join(pieces)!r}")
    return b"".join(pieces).decode()
