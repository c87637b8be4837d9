"""Who is lost: a judgement on facts alone, on which nobody's wall clock has any influence on the same boot."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.operations.lease import HIDDEN, Heartbeat, Here, lost_reason
from ktrdr_otel.operations.models import Worker

WORKER = Worker(host="there", boot_id="boot", pid=42, pid_started_ticks=1000, pid_namespace="ns")
BEAT = Heartbeat(WORKER, wall_ns=10**18, monotonic_ns=10**12, lease_seconds=15)
SECOND = 10**9
HOUR = 3600 * SECOND


def here(seconds_later: float, *, wall_off_ns: int = 0, boot: str = "boot", namespace: str = "ns") -> Here:
    """Somebody who asks so much later."""
    later = int(seconds_later * SECOND)
    return Here(boot, namespace, BEAT.wall_ns + later + wall_off_ns, BEAT.monotonic_ns + later)


@given(seconds=st.floats(0, 1e6), wall_off_ns=st.integers(-HOUR, HOUR))
def test_a_living_process_is_never_lost(seconds: float, wall_off_ns: int) -> None:
    """However long it has been silent: a native call may hold the interpreter's lock."""
    assert lost_reason(BEAT, here(seconds, wall_off_ns=wall_off_ns), started_ticks=1000) is None


@given(ticks=st.one_of(st.none(), st.integers(0, 999), st.integers(1001, 5000)), seconds=st.floats(0, 1e6))
def test_a_process_that_is_gone_is_lost_after_three_heartbeats(ticks: int | None, seconds: float) -> None:
    """Also when another process has its pid by now; sooner only its watcher says so."""
    verdict = lost_reason(BEAT, here(seconds), started_ticks=ticks)
    assert verdict == ("process 42 is gone" if int(seconds * SECOND) > 6 * SECOND else None)


def test_a_short_lease_makes_short_patience() -> None:
    """Its heartbeats are a fifth of it apart."""
    beat = dataclasses.replace(BEAT, lease_seconds=2)
    assert lost_reason(beat, here(1.1), started_ticks=None) is None
    assert lost_reason(beat, here(1.3), started_ticks=None) == "process 42 is gone"


@given(seconds=st.floats(0, 1e5), wall_off_ns=st.integers(-HOUR, HOUR))
def test_the_wall_clock_changes_nothing_on_the_same_boot(seconds: float, wall_off_ns: int) -> None:
    """From another container only the lease counts, by the clock that nobody sets."""
    asked = here(seconds, wall_off_ns=wall_off_ns, namespace="other")
    still = here(seconds, namespace="other")
    verdict = lost_reason(BEAT, asked, started_ticks=None)
    assert verdict == lost_reason(BEAT, still, started_ticks=None)
    assert (verdict is None) == (int(seconds * SECOND) / SECOND <= 15)


def test_another_machine_goes_by_the_lease() -> None:
    """With the host and the silence in the words."""
    assert lost_reason(BEAT, here(15, boot="other"), started_ticks=1000) is None
    assert lost_reason(BEAT, here(16, boot="other"), started_ticks=1000) == (
        "no heartbeat from there for 16 s, its lease is 15 s"
    )


def test_a_platform_without_process_start_times_goes_by_the_lease() -> None:
    """A pid alone proves nothing."""
    beat = dataclasses.replace(BEAT, worker=dataclasses.replace(WORKER, pid_started_ticks=0))
    assert lost_reason(beat, here(1), started_ticks=None) is None
    assert lost_reason(beat, here(16), started_ticks=None) is not None


def test_a_process_that_may_not_be_looked_at_goes_by_the_lease() -> None:
    """Another user's process under `hidepid` is not called gone because it is unseen."""
    assert lost_reason(BEAT, here(1), started_ticks=HIDDEN) is None
    assert lost_reason(BEAT, here(16), started_ticks=HIDDEN) is not None
