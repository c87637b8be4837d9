"""An application is the same with a watcher and without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.acceptance.jobs import SHORT

UNHARMED = {
    "os.wait": """
pid = os.fork()
if pid == 0:
    time.sleep(1); os._exit(7)
met = []
while True:
    try: met.append(os.wait())
    except ChildProcessError: break
assert [each[0] for each in met if each[0] == pid] == [pid], met
assert not [each for each in met if each[0] != pid], met
""",
    "fork": """
pid = os.fork()
if pid == 0:
    time.sleep(3)
    import threading
    os._exit(0 if not any("ktrdr-otel watch" in each.name for each in threading.enumerate()) else 3)
assert os.waitpid(pid, 0)[1] == 0
""",
    "faulthandler": """
import faulthandler
out = open(sys.argv[2], "w")
faulthandler.dump_traceback_later(1.0, file=out)
time.sleep(2)
out.close()
assert "most recent call first" in open(sys.argv[2]).read()
""",
    "pool": """
import multiprocessing
for method in ("fork", "spawn", "forkserver"):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
""",
}


HOST = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
from ktrdr_otel import checkpoint, observe
def main():
    with observe("host", operation_id="host", database=sys.argv[1], display="off") as operation:
        time.sleep(2.6)
        while operation._watch.pid is None:
            time.sleep(0.05)
        with checkpoint("work", item="x"):
            exec(sys.argv[3], globals())
if __name__ == "__main__":
    main()
    sys.exit(5)
"""


@pytest.mark.parametrize("what", sorted(UNHARMED))
def test_an_application_of_its_own_is_unharmed(tmp_path: Path, what: str) -> None:
    """One that waits for its children, forks, has its own faulthandler timer, or uses process pools."""
    program = tmp_path / "host.py"
    program.write_text(HOST)
    database, file = str(tmp_path / "o.db"), str(tmp_path / "out.txt")
    done = subprocess.run(
        [sys.executable, str(program), database, file, UNHARMED[what]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **SHORT},
    )
    assert done.returncode == 5, done.stderr
    service = open_service(load_settings(database=database))
    assert service.get("host").status is OperationStatus.COMPLETED
    service.close()


SAME = """
import ctypes, faulthandler, hashlib, os, random, signal, subprocess, sys, threading, time
from ktrdr_otel import checkpoint, observe

heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append("alarm"))
signal.signal(signal.SIGUSR1, lambda *_: heard.append("user"))
handlers = [str(signal.getsignal(each)).split(" at ")[0] for each in sorted(signal.valid_signals())]
libc = ctypes.CDLL(None)
with observe("same", database=sys.argv[1], display="off"):
    time.sleep(2.5)
    with checkpoint("work", item="x"):
        print("whole", libc.sleep(4))  # what is left of the seconds: it would be more than 0 if a signal had come
        print("held", ctypes.PyDLL(None).sleep(4))
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGUSR1)
        random.seed(7)
        print("results", hashlib.sha256(repr([random.random() for _ in range(9)]).encode()).hexdigest())
        print("child", subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode)
        print("threads", sorted(t.name for t in threading.enumerate() if not t.name.startswith("ktrdr-otel")))
        reading, writing = os.pipe()
        threading.Timer(1.0, os.write, (writing, b"!")).start()
        print("read", os.read(reading, 1))
print("heard", heard)
print("handlers", handlers == [str(signal.getsignal(e)).split(" at ")[0] for e in sorted(signal.valid_signals())])
print("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []), faulthandler.is_enabled())
sys.exit(9)
"""


def test_the_program_is_the_same_with_and_without_a_watcher(tmp_path: Path) -> None:
    """Its waits are not cut short, its signals, children, results and exit code are its own; it stalled meanwhile."""

    def said(watcher: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", SAME, str(tmp_path / f"{watcher}.db")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **SHORT, "KTRDR_OTEL_WATCHER": watcher},
        )
        return done.returncode, done.stdout

    without, observed = said("off"), said("auto")
    assert observed == without
    assert "whole 0\nheld 0\n" in observed[1]
    assert observed[0] == 9
    service = open_service(load_settings(database=str(tmp_path / "auto.db")))
    [operation] = service.list()
    service.close()
    assert operation.stall is not None
    assert "Thread" in operation.stall.stack
