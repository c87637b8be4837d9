"""The watcher itself. Standard library only; it is told through its standard input what to watch.

It beats for a process that cannot, tells a stalled one from a suspended one, keeps the stack that proves it, and says
of what a dead one died. It ends with its process, or when nothing runs in it any more.
"""

import json
import os
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ktrdr_otel import beside, semconv
from ktrdr_otel.operations import stack
from ktrdr_otel.operations.samples import activity
from ktrdr_otel.operations.stalls import Condition, Silence, judge
from ktrdr_otel.pulse import Pulse, Seen
from ktrdr_otel.watcher.kernel import Load, Process, memory_limit
from ktrdr_otel.watcher.place import newer, words
from ktrdr_otel.watcher.record import Record

_LOOK_SECONDS = 0.25
_SAMPLE_SECONDS = 5.0
_IDLE_SECONDS = 2.0  # without an operation, before it goes
_THREADS_SECONDS = 5.0  # before an allowance is used up, in which threads are looked at
_MOST_LOOKS = int(_THREADS_SECONDS / _LOOK_SECONDS)
_INSIDE_SECONDS = 1.0  # for a thread of the process to tell the stacks: it looks 20 times a second
_INSIDE_LOOK_SECONDS = 0.02
_TRIES = 20  # to say of what a process died while the store is busy


class Watcher:
    """Watches one process: a look four times a second."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._process = Process(config["pid"], config["started_ticks"])
        self._pulse = Pulse(os.open(config["pulse"], os.O_RDWR | os.O_CLOEXEC))
        self._record = Record(config)
        self._allowances = {tuple(kind): (seconds, slow) for kind, seconds, slow in config["allowances"]}
        self._silence = Silence(None)
        self._loads: list[tuple[float, Load]] = []
        self._stall: dict[str, Any] | None = None
        self._stalled_at: object = None  # the pulse as it stood still
        self._failed_looks = 0  # in a row
        self._suspended_since_ns: int | None = None
        self._suspended_at: object = None  # the pulse as it was told suspended: what moves clears that itself
        self._knows_flags = False
        self._looked_at = time.monotonic()
        self._memory_limit: int | None = None
        self._runnable: deque[set[int]] = deque(maxlen=_MOST_LOOKS)  # threads, look by look, before a stall
        self._beat_at = self._sample_at = 0.0
        self._idle_since: float | None = None

    def run(self) -> None:
        """It watches to the end, and leaves nothing open."""
        try:
            self._watch()
        finally:
            self._record.close()
            self._pulse.close()

    def _watch(self) -> None:
        while not self._process.wait(_LOOK_SECONDS):
            try:
                if self._is_done():
                    return
                self._look(time.monotonic())
            except Exception as error:  # the store may be away; a watcher that gives up proves nothing
                self._failed_looks += 1
                if self._failed_looks == 1:
                    _say(f"it cannot look, and tries again: {error}; further faults are only counted")
            else:
                if self._failed_looks:
                    _say(f"it looks again, after {self._failed_looks} faults")
                self._failed_looks = 0
        self._mourn()

    def _is_done(self) -> bool:
        now = time.monotonic()
        if self._pulse.look().active:
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or now
        return now - self._idle_since > _IDLE_SECONDS

    def _look(self, now: float) -> None:
        load = self._process.load()
        if load is None:
            return
        was_stopped = bool(self._loads) and self._loads[-1][1].is_stopped
        if load.is_stopped or was_stopped:
            # The last look may have lasted: a store is locked for as long as who writes to it is stopped.
            first = None if was_stopped else int(now * 1e9)
            self._pulse.add_stopped(int((now - self._looked_at) * 1e9), seen_first_at_ns=first)
        self._looked_at = now
        self._loads = [each for each in self._loads if now - each[0] < 60] + [(now, load)]
        seen = self._pulse.look()
        silent_for = self._silence.look(seen.moved, now, is_stopped=load.is_stopped)
        if not self._knows_flags:
            self._take_flags_over(seen)
        if self._stall is not None and seen.moved != self._stalled_at:
            self._goes_on()
        self._suspend(seen, is_stopped=load.is_stopped)
        what, allowance, slow_after = self._under_way(seen)
        self._look_at_threads(silent_for, allowance)
        if not load.is_stopped and judge(silent_for, allowance, slow_after) is Condition.STALLED:
            self._stalled(what, silent_for, seen.moved)
        if now >= self._beat_at:
            self._beat_at = now + self._config["heartbeat_seconds"] / 2
            late = time.monotonic_ns() - int(self._config["heartbeat_seconds"] * 1e9)
            self._record.beat(late_monotonic_ns=late)
        if now >= self._sample_at:
            self._sample_at = now + _SAMPLE_SECONDS
            self._process.remember_oom_kills()
            self._memory_limit = memory_limit(self._process.pid)
            for operation_id in self._record.running():
                self._sample(operation_id, now)

    def _sample(self, operation_id: str, now: float) -> None:
        """What the process used when it was seen last."""
        if not self._loads:
            return
        looked_at, load = self._loads[-1]
        self._record.sample(
            operation_id,
            at_ns=time.time_ns() - int((now - looked_at) * 1e9),
            cpu_share=self._cpu_share(_SAMPLE_SECONDS),
            rss_bytes=load.rss_bytes,
            limit_bytes=self._memory_limit,
        )

    def _look_at_threads(self, silent_for: float, allowance: float) -> None:
        """Which would run, for as long as a stall is near."""
        if self._stall is not None:
            return
        if silent_for < allowance - min(allowance / 2, _THREADS_SECONDS):
            self._runnable.clear()
        else:
            self._runnable.append(self._process.runnable_threads())

    def _wanted_share(self, worker: stack.Worker | None) -> float:
        """On a crowded machine who calculates gets little: its share alone would say that it waits.

        Only of the thread that works: those that wait for the interpreter's lock wake up all the time.
        """
        return 0.0 if worker is None else self._runs(worker.os_thread_id)

    def _runs(self, thread: int) -> float:
        """Of so much of the time before the stall it would have run."""
        if not self._runnable:
            return 0.0
        return sum(thread in looked for looked in self._runnable) / len(self._runnable)

    def _under_way(self, seen: Seen) -> tuple[str, float, float | None]:
        """Words for the step, its allowance, and after which time it is slow."""
        step = seen.step
        if step is None:
            place = seen.place or {}
            return (
                str(place.get("message") or ""),
                float(place.get("allowance_seconds") or self._config["unknown_seconds"]),
                place.get("slow_after_seconds"),
            )
        kind = step.get(semconv.PROGRESS_TYPE, "")
        item = step.get(semconv.ITEM_NAME)
        what = words(step)
        if semconv.HOLD_ALLOWANCE in step:
            return what, float(step[semconv.HOLD_ALLOWANCE]), None
        if item is None and kind == semconv.PREPROCESSING:
            item = step.get(semconv.STEP)
        unknown = (self._config["unknown_seconds"], None)
        allowed, slow_after = self._allowances.get((kind, item, step.get(semconv.TIMEFRAME)), unknown)
        # What happens inside a hold may take what the hold may.
        return what, max(allowed, float((seen.place or {}).get("hold_seconds") or 0)), slow_after

    def _stalled(self, what: str, silent_for: float, moved: object) -> None:
        if self._stall is not None:
            return
        now = datetime.now(UTC)
        stacks = self._stacks()
        worker = None if isinstance(stacks, str) else stacks.worker(self._pulse.look().thread)
        doing = activity(self._cpu_share(silent_for), self._wanted_share(worker))
        where = stacks if isinstance(stacks, str) else worker.where if worker else None
        stall = {
            "since": _moment(now - timedelta(seconds=silent_for)),
            "until": None,
            "noticed_at": _moment(now),
            "step": what,
            "activity": f"{doing}, {where}" if where else doing,
            "stack": stacks if isinstance(stacks, str) else stacks.text(),
            "moved": moved,
        }
        seen = self._pulse.look()
        if seen.moved == moved:
            self._tell_place(seen)
        for operation_id in self._record.running():
            self._record.stalled(operation_id, json.dumps(stall))
        # Only now: where the store was busy the next look tries again.
        self._stall, self._stalled_at = stall, moved

    def _stacks(self) -> "stack.Stacks | str":
        """Of all threads, from outside, else from inside while one of them can run; else why there are none."""
        stacks = stack.take(self._config["py_spy"], self._process.pid)
        if not isinstance(stacks, str):
            return stacks
        question = self._pulse.ask_for_stacks()
        deadline = time.monotonic() + _INSIDE_SECONDS
        while time.monotonic() < deadline and not self._process.wait(_INSIDE_LOOK_SECONDS):
            if (told := self._pulse.stacks_told(question)) is not None:
                seen = {thread for looked in self._runnable for thread in looked}
                return stack.Stacks.from_inside(told, {each for each in seen if self._runs(each) >= 0.5})
        return f"{stacks}, and none came from inside: the interpreter's lock may be held"

    def _tell_place(self, seen: Seen) -> None:
        """The record says in which step it is, where the process itself could not say so any more."""
        running = self._record.running()
        # Of several operations nobody knows which one began the step.
        if seen.step is None or len(running) != 1:
            return
        [operation_id] = running
        known = self._record.place(operation_id)
        place = None if known is None else newer(known, seen.step)
        if place is not None:
            self._record.is_in(operation_id, place)

    def _take_flags_over(self, seen: Seen) -> None:
        """Those of a watcher that has died are this one's to clear."""
        for stalled, suspended, told in self._record.flags():
            if suspended:
                self._suspended_since_ns, self._suspended_at = time.monotonic_ns(), seen.moved
            if stalled and told is not None:
                self._stall = json.loads(told)
                # Where it stood still then: it may have gone on while nobody watched.
                self._stalled_at = tuple(json.loads(told).get("moved", seen.moved))
        self._knows_flags = True

    def _goes_on(self) -> None:
        stall = {**(self._stall or {}), "until": _moment(datetime.now(UTC))}
        for operation_id in self._record.running():
            self._record.goes_on(operation_id, json.dumps(stall))
        self._stall = None
        self._loads = self._loads[-1:]

    def _suspend(self, seen: Seen, *, is_stopped: bool) -> None:
        now_ns = time.monotonic_ns()
        if is_stopped or self._silence.is_suspended:
            if self._suspended_since_ns is None:
                self._suspended_since_ns = now_ns
            if self._suspended_at != seen.moved:
                self._tell_place(seen)
                for operation_id in self._record.running():
                    self._record.suspended(operation_id)
                self._suspended_at = seen.moved  # only now: while the store is busy it cannot
        elif self._suspended_since_ns is not None:
            for operation_id in self._record.running():
                self._record.resumed(operation_id, since_ns=self._suspended_since_ns, now_ns=now_ns)
            self._suspended_since_ns, self._suspended_at = None, None

    def _cpu_share(self, seconds: float) -> float:
        """Cores that were busy over the last seconds, as far as it has looked."""
        if len(self._loads) < 2:
            return 0.0
        now, last = self._loads[-1]
        then, first = next(each for each in self._loads if now - each[0] <= max(seconds, 1.0))
        return max(last.cpu_seconds - first.cpu_seconds, 0.0) / max(now - then, 0.01)

    def _mourn(self) -> None:
        # The time first: to hear of what it died can take a moment.
        died_at, died_ns = time.monotonic(), time.time_ns()
        reason = self._process.death()
        with suppress(Exception):  # what matters is that it is lost
            self._tell_place(self._pulse.look())
        for attempt in range(_TRIES):
            try:
                for operation_id in self._record.running():
                    self._sample(operation_id, died_at)
                    self._record.lost(operation_id, reason, ended_ns=died_ns)
                break
            except Exception:  # nobody listens any more
                time.sleep(0.2 * (attempt + 1))
        else:
            return  # its lease tells
        # What cannot be sent is left to whoever reads the store.
        with suppress(Exception):
            self._close_traces()

    def _close_traces(self) -> None:
        """A normal interpreter, with the exporter and the credentials of the dead process, sends what it owed.

        Before anybody else: nobody else has those credentials.
        """
        closing = self._config["closing"]
        if closing is None:
            return
        mine = {name: self._config[name] for name in ("boot_id", "pid", "started_ticks")}
        told = {**closing["told"], "first_for": mine}
        with subprocess.Popen(  # noqa: S603 # our own interpreter, our own program
            beside.call(closing["python"], "ktrdr_otel.closing"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=closing["environment"],
            cwd="/",
        ) as started:
            started.communicate(json.dumps(told).encode() + b"\n")


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _say(line: str) -> None:
    """To the observed program, which logs it, while that can listen."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def main() -> None:
    """Watch what standard input says."""
    beside.speak_to_whoever_listens()
    config = json.loads(sys.stdin.readline())
    try:
        watcher = Watcher(config)
    except (ProcessLookupError, FileNotFoundError):
        return  # it was gone before it could be watched: its lease tells
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    watcher.run()
