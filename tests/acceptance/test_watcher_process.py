"""The watcher as a process: one per store, alone, replaced when it dies."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.acceptance.jobs import SHORT, is_gone, job, there


def test_a_killed_watcher_is_replaced(tmp_path: Path) -> None:
    """And the new one sees the stall."""
    with job(tmp_path, "busy", stuck=300) as running:
        first = running.watcher()
        os.kill(first, signal.SIGKILL)
        is_gone(first)
        there(running)
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        assert "busy" in operation.stall.stack  # type: ignore[union-attr] # until it is there
        assert running.watcher() != first


def test_the_watcher_knows_no_secret_and_holds_nothing(tmp_path: Path) -> None:
    """No secret on its command line or in its environment, no descriptor of its parent's, a session of its own."""
    with job(tmp_path, "nothing", MY_SECRET="hush", stuck=1) as running:
        watcher = running.watcher()
        words = Path(f"/proc/{watcher}/cmdline").read_bytes() + Path(f"/proc/{watcher}/environ").read_bytes()
        assert b"hush" not in words
        assert str(tmp_path).encode() not in words
        assert os.getsid(watcher) != os.getsid(running.process.pid)
        # What it opens to look is closed again a moment later.
        opened = set().union(*(_descriptors(watcher) for _ in range(3)))
        outside = {str(Path(f"/proc/{running.process.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}
        assert not opened & (outside - {"/dev/null"})
        running.process.kill()
        is_gone(watcher)


def _descriptors(pid: int) -> set[str]:
    opened = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.add(str(each.readlink()))
    return opened


MANY = """
import sys, time
from pathlib import Path
from ktrdr_otel import checkpoint, observe

def watchers():
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ktrdr_otel.watcher.process" in (process / "cmdline").read_bytes():
                found += any(f"Pid:\\t{__import__('os').getpid()}\\n" in each.read_text()
                             for each in (process / "fdinfo").iterdir())
        except OSError:
            pass
    return found

for number in range(4):
    with observe("one of many", database=sys.argv[1 + number % 2], display="off") as operation:
        with checkpoint("load", item="x"):
            time.sleep(2.6)
            while operation._watch.pid is None:
                time.sleep(0.05)
        print(watchers(), flush=True)
    time.sleep(0.1)
"""


def test_operations_in_a_row_share_a_watcher(tmp_path: Path) -> None:
    """One per store; none is said to be gone that went because there was nothing left to watch."""
    databases = [str(tmp_path / "a.db"), str(tmp_path / "b.db")]
    done = subprocess.run(
        [sys.executable, "-c", MANY, *databases],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **SHORT, "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "60"},
    )
    assert [int(count) <= 2 for count in done.stdout.split()] == [True] * 4, done.stdout
    assert int(done.stdout.split()[0]) == 1
    assert "the watcher is gone" not in done.stderr
