"""Whether a running operation's process is still there: a judgement on what the store says, and nothing else."""

from dataclasses import dataclass

from ktrdr_otel.operations import worker as workers
from ktrdr_otel.operations.models import Worker
from ktrdr_otel.settings import heartbeat_interval_seconds

# A process is there, of another user, and /proc shows none of it (`hidepid`): then only the lease counts.
HIDDEN = -1
_PATIENCE_BEATS = 3


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a worker."""

    worker: Worker
    wall_ns: int
    monotonic_ns: int  # of the worker's boot
    lease_seconds: float  # 0: it never had one


@dataclass(frozen=True, slots=True)
class Here:
    """Where and when somebody asks."""

    boot_id: str
    pid_namespace: str
    wall_ns: int
    monotonic_ns: int


def lost_reason(beat: Heartbeat, here: Here, *, started_ticks: int | None) -> str | None:
    """Why the operation is lost; None while it is not.

    `started_ticks` is what `look` gave: the start time of the process that has the worker's pid now. It counts
    only in the same boot and PID namespace, where a process that is there is never lost (a native call
    may keep its heartbeat thread from running), and one that is gone is lost after three heartbeats that did not
    come: until then its watcher, which knows of what it died, can say so. On the same boot only the monotonic clock
    counts, so that nobody who sets the wall clock changes a state.
    """
    if beat.lease_seconds == 0:
        return None
    worker, silence = beat.worker, _silence(beat, here)
    seen = worker.pid_started_ticks and started_ticks != HIDDEN
    if is_same_boot(worker, here) and worker.pid_namespace == here.pid_namespace and seen:
        patience = _PATIENCE_BEATS * heartbeat_interval_seconds(beat.lease_seconds)
        if started_ticks == worker.pid_started_ticks or silence <= patience:
            return None
        return f"process {worker.pid} is gone"
    if silence <= beat.lease_seconds:
        return None
    return f"no heartbeat from {worker.host} for {silence:.0f} s, its lease is {beat.lease_seconds:g} s"


def is_overdue(beat: Heartbeat, here: Here) -> bool:
    """Whether nobody has said for longer than the lease that the worker is there."""
    return 0 < beat.lease_seconds < _silence(beat, here)


def is_same_boot(worker: Worker, here: Here) -> bool:
    """Whether the worker's monotonic clock is that of whoever asks."""
    return bool(worker.boot_id) and worker.boot_id == here.boot_id


def is_of(worker: Worker, pid: int, here: Here) -> bool:
    """Whether who asks sees the worker under that pid."""
    return is_same_boot(worker, here) and (worker.pid_namespace, worker.pid) == (here.pid_namespace, pid)


def look(worker: Worker) -> int | None:
    """The start time of the process that has the worker's pid now; None if there is none, `HIDDEN` if unseen."""
    started_ticks = workers.started_ticks(worker.pid)
    return HIDDEN if started_ticks is None and workers.is_hidden(worker.pid) else started_ticks


def _silence(beat: Heartbeat, here: Here) -> float:
    """Seconds since the last heartbeat."""
    if is_same_boot(beat.worker, here):
        return (here.monotonic_ns - beat.monotonic_ns) / 1e9
    return (here.wall_ns - beat.wall_ns) / 1e9
