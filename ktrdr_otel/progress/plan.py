"""The plan of an operation: how many units it has, how many are finished, and what ratio that makes."""

import threading
from collections.abc import Mapping
from typing import Final

from ktrdr_otel import semconv

PREPROCESSING: Final = "preprocessing"
PREPARATION: Final = "preparation"
TRAINING: Final = "training"
EVALUATION: Final = "evaluation"

PHASE_OF_TYPE: Final[Mapping[str, str]] = {
    semconv.PREPROCESSING: PREPROCESSING,
    semconv.INDICATOR_COMPUTATION: PREPROCESSING,
    semconv.FUZZY_GENERATION: PREPROCESSING,
    semconv.PREPARATION: PREPARATION,
    semconv.EPOCH: TRAINING,
    semconv.BATCH: TRAINING,
    semconv.EVALUATION: EVALUATION,
}

# The seed's allocation: what comes before training 5 %, training 90 %, evaluation 5 %.
_SHARES: Final = (
    ((PREPROCESSING, PREPARATION), 0.05),
    ((TRAINING,), 0.90),
    ((EVALUATION,), 0.05),
)
# 100 % only at completion: when the last planned unit is finished the operation still has to end well.
_ALMOST: Final = 0.999


def phase_of(progress_type: str | None) -> str | None:
    """The phase in which units of that type are; a stranger's word is a phase of its own."""
    if progress_type is None or progress_type == semconv.HOLD:
        return None
    return PHASE_OF_TYPE.get(progress_type, progress_type)


class Plan:
    """Units per progress type, planned and finished; safe from any thread.

    The ratio of a group of phases is finished / planned units, whatever the order in which they finish; the
    groups have the seed's shares, made to sum to 1 over those that have units. Without units of training the
    ratio is simply finished / planned.

    >>> plan = Plan({"load": 4})
    >>> plan.finish("load")
    >>> plan.ratio()
    0.25
    """

    def __init__(self, units: Mapping[str, int] | None = None) -> None:
        self._lock = threading.Lock()
        self._planned: dict[str, int] = dict(units or {})
        self._finished: dict[str, int] = dict.fromkeys(self._planned, 0)
        self._partial: dict[str, float] = {}
        self._complete = False
        # What one unit of each type adds to the ratio; made anew when the plan changes, not at each unit.
        self._weights: dict[str, float] | None = None

    @classmethod
    def training(
        cls,
        *,
        steps: int,
        indicators: int,
        fuzzy_sets: int,
        epochs: int,
        preparation: int = 3,
        evaluation: int = 1,
    ) -> "Plan":
        """The plan of a training: `steps` are loads, features and labels; the others count what they say."""
        return cls(
            {
                semconv.PREPROCESSING: steps,
                semconv.INDICATOR_COMPUTATION: indicators,
                semconv.FUZZY_GENERATION: fuzzy_sets,
                semconv.PREPARATION: preparation,
                semconv.EPOCH: epochs,
                semconv.EVALUATION: evaluation,
            }
        )

    @property
    def planned(self) -> int:
        """All units that the operation has."""
        return sum(self._planned.values())

    @property
    def finished(self) -> int:
        """The units that are done."""
        return sum(self._finished.values())

    def remaining(self) -> dict[str, float]:
        """Units still to come per progress type; of one under way only what is left of it."""
        with self._lock:
            return {
                kind: left - self._partial.get(kind, 0.0)
                for kind, planned in self._planned.items()
                if (left := planned - self._finished[kind]) > 0
            }

    def by_phase(self) -> dict[str, tuple[int, int]]:
        """(finished, planned) units of each phase, in the order in which the plan names them."""
        phases: dict[str, tuple[int, int]] = {}
        with self._lock:
            for kind, planned in self._planned.items():
                phase = PHASE_OF_TYPE.get(kind, kind)
                finished_before, planned_before = phases.get(phase, (0, 0))
                phases[phase] = (finished_before + self._finished[kind], planned_before + planned)
        return phases

    def expect(self, progress_type: str, count: int) -> None:
        """There are at least that many units of the type."""
        with self._lock:
            if count > self._planned.get(progress_type, -1):
                self._planned[progress_type] = count
                self._weights = None
            self._finished.setdefault(progress_type, 0)

    def finish(self, progress_type: str, count: int = 1) -> None:
        """So many more units of the type are done; those beyond the plan widen the plan."""
        with self._lock:
            finished = self._finished.get(progress_type, 0) + count
            self._finished[progress_type] = finished
            if finished > self._planned.get(progress_type, 0):
                self._planned[progress_type] = finished
                self._weights = None
            if self._partial:
                self._partial.pop(progress_type, None)

    def reach(self, progress_type: str, count: int) -> None:
        """That many units of the type are done by now; never fewer than before."""
        with self._lock:
            finished = max(count, self._finished.get(progress_type, 0))
            self._finished[progress_type] = finished
            if finished > self._planned.get(progress_type, -1):
                self._planned[progress_type] = finished
                self._weights = None

    def partly(self, progress_type: str, fraction: float) -> None:
        """The unit of the type that is under way is done to that fraction, 0-1; never less than before."""
        with self._lock:
            self._partial[progress_type] = min(max(fraction, self._partial.get(progress_type, 0.0)), 1.0)

    def forgo(self, progress_type: str) -> int:
        """What remains of the type will not come (an early stop); returns how many units that were."""
        with self._lock:
            planned, finished = self._planned.get(progress_type, 0), self._finished.get(progress_type, 0)
            self._planned[progress_type] = finished
            self._finished.setdefault(progress_type, 0)
            self._partial.pop(progress_type, None)
            self._weights = None
            return planned - finished

    def complete(self) -> None:
        """The operation has ended well."""
        self._complete = True

    def ratio(self) -> float:
        """0-1; 1 only when the operation has completed."""
        if self._complete:
            return 1.0
        with self._lock:
            weights = self._weights
            if weights is None:
                weights = self._weights = self._weigh()
            ratio = 0.0
            for kind, finished in self._finished.items():
                ratio += finished * weights[kind]
            for kind, fraction in self._partial.items():
                ratio += fraction * weights.get(kind, 0.0)
        return min(ratio, _ALMOST)

    def _weigh(self) -> dict[str, float]:
        planned = self._planned
        if not planned.get(semconv.EPOCH):
            whole = sum(planned.values())
            return dict.fromkeys(planned, 1 / whole if whole else 0.0)
        groups = [
            (share, [kind for kind in planned if PHASE_OF_TYPE.get(kind) in phases])
            for phases, share in _SHARES
        ]
        sizes = [(share, kinds, sum(planned[kind] for kind in kinds)) for share, kinds in groups]
        present = sum(share for share, _, size in sizes if size)
        weights = dict.fromkeys(planned, 0.0)
        for share, kinds, size in sizes:
            for kind in kinds:
                weights[kind] = share / present / size if size else 0.0
        return weights
