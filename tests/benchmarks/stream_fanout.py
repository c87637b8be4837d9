"""How fresh is what a thousand readers of one operation see, and what does each of them cost the server?

A server in a process of its own follows an operation of its own that changes a thousand times a second; the readers,
in this process, share the machine with it. Each state carries when the last change in it was noticed (every 50 ms);
its freshness is how old that is when a reader has it. Memory is the server's growth, over its readers.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.harness import Spread, report

READERS = 1_000
SECONDS = 10.0
CHANGES_PER_SECOND = 1_000


def serve(database: str) -> None:
    """The server's process: it runs the operation when told, and says its memory before and after."""
    from ktrdr_otel import observe, track
    from ktrdr_otel.settings import load_settings
    from ktrdr_otel.wiring import serving

    os.environ["KTRDR_OTEL_MAX_CONNECTIONS"] = str(READERS + 100)
    with (
        serving(load_settings(database=database), host=None, port=0) as url,
        observe("fan out", operation_id="fan-out", display="off", database=database),
    ):
        print(json.dumps({"url": url, "memory": _memory()}), flush=True)
        sys.stdin.readline()
        connected = _memory()
        turns = int(SECONDS * CHANGES_PER_SECOND)
        began = time.monotonic()
        for turn in track(range(turns), "change", total=turns):
            ahead = began + turn / CHANGES_PER_SECOND - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        print(json.dumps({"connected": connected, "memory": _memory()}), flush=True)
    sys.stdin.readline()


def _memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Reader:
    """One subscriber on a raw socket: a thousand HTTP clients would measure themselves."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.last: dict[str, object] = {}
        self.ended = False

    async def read(self, host: str, port: int, connected: asyncio.Semaphore) -> None:
        """It reads to the end of the stream."""
        async with connected:
            stream, writer = await asyncio.open_connection(host, port, limit=2**20)
        path = "/api/v1/operations/fan-out/events"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        event = ""
        while line := await stream.readline():
            if line.startswith(b"event: "):
                event = line[7:].decode().strip()
            elif line.startswith(b"data: ") and event in ("state", "end"):
                self._hear(event, json.loads(line[6:]))
            if self.ended:
                break
        writer.close()

    def _hear(self, event: str, state: dict[str, object]) -> None:
        made_at = state.get("last_progress_at")
        if event == "state" and isinstance(made_at, str) and state != self.last:
            self.ages.append(time.time() - _seconds(made_at))
        self.last, self.ended = state, event == "end"


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


async def follow(
    host: str, port: int, server: "subprocess.Popen[str]"
) -> tuple[list[Reader], dict[str, int]]:
    """The readers, and what the server said of its memory."""
    readers = [Reader() for _ in range(READERS)]
    connected = asyncio.Semaphore(50)
    tasks = [asyncio.create_task(reader.read(host, port, connected)) for reader in readers]
    while not all(reader.last for reader in readers):
        await asyncio.sleep(0.05)
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    said = json.loads(await asyncio.to_thread(server.stdout.readline))
    await asyncio.wait(tasks, timeout=30)
    for task in tasks:
        task.cancel()
    return readers, said


def main() -> None:
    """The figures are printed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = READERS * 2
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            sys.executable,
            "-m",
            "tests.benchmarks.stream_fanout",
            str(Path(folder) / "operations.db"),
        ]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            first = json.loads(server.stdout.readline())
            host, _, port = first["url"].removeprefix("http://").partition(":")
            readers, said = asyncio.run(follow(host, int(port), server))
            server.communicate("\n", timeout=30)
    ages = sorted(age for reader in readers for age in reader.ages)
    report(
        "stream_fanout",
        {
            "readers": READERS,
            "changes_per_second": CHANGES_PER_SECOND,
            "readers_at_the_final_state": sum(
                reader.ended and reader.last.get("status") == "completed" for reader in readers
            ),
            "freshness_p50_seconds": ages[len(ages) // 2],
            "freshness_p99_seconds": ages[int(len(ages) * 0.99)],
            "freshness_seconds": Spread.of(ages),
            "states_per_reader": len(ages) / READERS,
            "bytes_per_reader": (said["connected"] - first["memory"]) / READERS,
            "bytes_per_reader_at_the_end": (said["memory"] - first["memory"]) / READERS,
        },
    )


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        serve(sys.argv[1])
    else:
        main()
