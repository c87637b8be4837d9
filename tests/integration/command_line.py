"""The command line in a process of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def ktrdr_otel(
    *arguments: str, database: Path | str | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """`ktrdr-otel` with those arguments, its output in pipes, no variable of ours but those given."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("KTRDR_OTEL_", "OTEL_"))
    }
    given = {} if database is None else {"KTRDR_OTEL_DATABASE": str(database)}
    return subprocess.run(
        [sys.executable, "-m", "ktrdr_otel", *arguments],
        env=kept | given | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def interpreter_without_py_spy(folder: Path) -> str:
    """A Python with all that is installed here, but beside which there is no py-spy; PATH is the caller's."""
    home = folder / "without-py-spy"
    venv.create(home, symlinks=True)
    [packages] = home.glob("lib/python*/site-packages")
    installed = sysconfig.get_path("purelib")
    (packages / "all.pth").write_text(f"import site; site.addsitedir({installed!r})\n")
    return str(home / "bin" / "python")


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    """What it printed as JSON; it has ended well and said nothing else."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)
