"""What the kernel tells of a process, on real ones."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktrdr_otel.operations.worker import started_ticks
from ktrdr_otel.watcher.kernel import Process


def sleeping(seconds: float = 60, code: int = 0) -> "subprocess.Popen[bytes]":
    """A process that sleeps, then exits with that code."""
    program = f"import time, sys; print(flush=True); time.sleep({seconds}); sys.exit({code})"
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def watched(process: "subprocess.Popen[bytes]") -> Process:
    """The process, watched."""
    return Process(process.pid, started_ticks(process.pid) or 0)


def told_by_the_kernel() -> bool:
    """Whether this kernel tells how a process died (Linux 6.15)."""
    return tuple(int(each) for each in os.uname().release.split(".")[:2]) >= (6, 15)


def test_a_death_is_seen_and_named() -> None:
    """By signal, and by exit code, once the parent has heard of it; older kernels tell nobody else."""
    for end, named, seconds in (
        (lambda each: each.kill(), "was killed by SIGKILL", 60),
        (lambda each: None, "exited with code 7", 0.3),
    ):
        process = sleeping(seconds, 7)
        seen = watched(process)
        end(process)
        assert seen.wait(20)
        process.wait()
        expected = named if told_by_the_kernel() else "is gone, signal unknown"
        assert seen.death() == f"process {process.pid} {expected}"


def test_a_thread_that_would_run_is_told_from_one_that_waits() -> None:
    """However little the machine gives it."""
    waits = sleeping()
    seen = watched(waits)
    deadline = time.monotonic() + 10
    while seen.runnable_threads():
        assert time.monotonic() < deadline, "it sleeps"
    counts = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    )
    assert counts.stdout is not None
    counts.stdout.readline()
    assert watched(counts).runnable_threads() == {counts.pid}
    for process in (waits, counts):
        process.kill()
        process.wait()
    counts.stdout.close()


def test_a_death_that_nobody_asked_about_has_no_reason() -> None:
    """The parent has not taken the status: it is said that the signal is unknown."""
    process = sleeping()
    seen = watched(process)
    os.kill(process.pid, signal.SIGKILL)
    assert seen.wait(5)
    assert seen.load() is None, "the memory of the dead is none of its own"
    assert seen.death() == f"process {process.pid} is gone, signal unknown"
    process.wait()


def test_an_older_kernel_tells_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.13 there is no such call; the death is seen all the same, and what is not known is said."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.setattr("ktrdr_otel.watcher.kernel.fcntl.ioctl", refuse)
    for end in (lambda each: each.kill(), lambda each: None):
        process = sleeping(0.3, 7)
        seen = watched(process)
        end(process)
        assert seen.wait(5)
        process.wait()
        assert seen.death() == f"process {process.pid} is gone, signal unknown"


def test_a_stopped_process_is_known() -> None:
    """And a busy one by its CPU time."""
    process = sleeping()
    seen = watched(process)
    load = seen.load()
    assert load is not None
    assert not load.is_stopped
    assert load.rss_bytes > 1_000_000
    os.kill(process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 5
    while not (load := seen.load()) or not load.is_stopped:
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert seen.load() is None


def test_another_process_of_that_pid_is_not_watched() -> None:
    """Its start time tells."""
    with pytest.raises(ProcessLookupError):
        Process(os.getpid(), 1)


def test_memory_that_ran_out_for_another_process_is_not_its_death(tmp_path: Path) -> None:
    """Only a kill, or an end of which nobody knows, while the counter moved."""
    for end, expected in ((0, "exited with code 7"), (signal.SIGKILL, "was killed: out of memory")):
        events = tmp_path / "memory.events"
        events.write_text("oom_kill 3\n")
        process = sleeping(0.3 if end == 0 else 60, 7)
        seen = watched(process)
        seen._oom_file = events
        seen.remember_oom_kills()
        if end:
            process.kill()
        assert seen.wait(5)
        process.wait()
        events.write_text("oom_kill 4\n")
        if end or told_by_the_kernel():
            assert expected in seen.death()
