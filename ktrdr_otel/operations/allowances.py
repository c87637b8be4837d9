"""How long a step may take before anyone calls it slow, or stalled: learned from runs that completed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ktrdr_otel.operations.durations import Kind, bucket_of

_SHARE = 0.99
# How far beyond its 99th percentile a step is slow: what a bucket's width, a busy machine or a look that came late make
# of a step is no slowness of its own.
_SLOW_FACTOR: Final = 1.5
_SLOW_SECONDS: Final = 1.0


class Allowance(NamedTuple):
    """Seconds without progress that are allowed, and after which it is slow (None: not known yet)."""

    seconds: float
    slow_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class Allowances:
    """Allowance per kind of step: its 99th percentile times a factor, never below a floor.

    Unknown kinds have one of their own; `hold` says its own.
    """

    p99_seconds: Mapping[Kind, float]
    factor: float
    floor_seconds: float
    unknown_seconds: float

    def of(self, kind: Kind) -> Allowance:
        """What a step of that kind may take."""
        p99 = self.p99_seconds.get(kind)
        if p99 is None:
            return self.unknown
        slow_after_seconds = max(p99 * _SLOW_FACTOR, p99 + _SLOW_SECONDS)
        return Allowance(max(p99 * self.factor, self.floor_seconds), slow_after_seconds)

    @property
    def least_ns(self) -> int:
        """What every step may take, whatever it is."""
        return int(min(self.floor_seconds, self.unknown_seconds) * 1e9)

    @property
    def unknown(self) -> Allowance:
        """What may pass where nothing is known."""
        return Allowance(self.unknown_seconds, None)


NOTHING_LEARNED: Final = Allowances({}, factor=5.0, floor_seconds=30.0, unknown_seconds=300.0)


def p99_seconds(cells: Iterable[tuple[Kind, int, int]]) -> dict[Kind, float]:
    """The 99th percentile per kind, from (kind, bucket, units): the upper edge of the bucket that holds it."""
    histograms: dict[Kind, dict[int, int]] = {}
    for kind, bucket, units in cells:
        histogram = histograms.setdefault(kind, {})
        histogram[bucket] = histogram.get(bucket, 0) + units
    return {kind: _p99(histogram) for kind, histogram in histograms.items()}


def _p99(histogram: Mapping[int, int]) -> float:
    wanted = _SHARE * sum(histogram.values())
    reached = 0
    bucket = 0
    for bucket in sorted(histogram):
        reached += histogram[bucket]
        if reached >= wanted:
            break
    return upper_edge_seconds(bucket)


def upper_edge_seconds(bucket: int) -> float:
    """The longest duration that falls into the bucket, in seconds."""
    edge = float(2 ** ((bucket + 1) / 8)) / 1e9
    assert bucket_of(int(edge * 1e9 * 0.999)) <= bucket
    return edge
