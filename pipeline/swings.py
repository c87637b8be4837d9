"""The turning points of a price: where it moved against its last extreme by at least a threshold.

A swing runs from one pivot to the next. Its last extreme becomes a pivot only when the reversal has been
seen, so every bar is decided by the first *event* after it: a new extreme (the bar lies inside the swing) or
a reversal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FIRST_WINDOW = 64


@dataclass(frozen=True)
class Swings:
    """Confirmed pivots, the first bar among them, and the direction of the swing that begins at each.

    `pivots` and `directions` (+1 up, -1 down) are `(swings,)`; `next_event` is `(bars,)`: the first bar after
    each bar that decides about it, `bars` where none has come yet. `confirmed_at` is `(swings with a
    direction,)`: the bar at which the pivot that a swing begins with became known.
    """

    pivots: NDArray[np.intp]
    directions: NDArray[np.intp]
    next_event: NDArray[np.intp]
    confirmed_at: NDArray[np.intp]

    def swing_of(self, position: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which swing each bar belongs to; a pivot belongs to the one that begins there."""
        return np.searchsorted(self.pivots, position, side="right") - 1


def find_swings(price: NDArray[np.float64], threshold: NDArray[np.float64]) -> Swings:
    """The swings of the price `(bars,)`; thresholds are fractions, one per bar, NaN where none can turn.

    The walk is ktrdr's: the first bar is a pivot, the first move of a threshold away from it sets the
    direction, a later one against the running extreme (its first bar, where several are equal) turns it. It
    steps from turn to turn, not from bar to bar.
    """
    pivots, directions = [0], []
    events: list[NDArray[np.intp]] = []
    confirmed: list[int] = []
    start = _first_move(price, threshold)
    direction = 0 if start is None else (1 if price[start] > price[0] else -1)
    while start is not None:
        directions.append(direction)
        confirmed.append(start)
        reversal, extremes = _follow(price, threshold, start, direction)
        events.append(extremes)
        if reversal is not None:
            pivots.append(int(extremes[-1]))
            direction = -direction
        start = reversal
    bars = len(price)
    return Swings(
        np.array(pivots),
        np.array(directions, dtype=np.intp),
        _next_event(events, bars),
        np.array(confirmed, dtype=np.intp),
    )


def _first_move(price: NDArray[np.float64], threshold: NDArray[np.float64]) -> int | None:
    moved = np.abs((price[1:] - price[0]) / price[0]) >= threshold[1:]
    return int(np.argmax(moved)) + 1 if moved.any() else None


def _follow(
    price: NDArray[np.float64], threshold: NDArray[np.float64], start: int, direction: int
) -> tuple[int | None, NDArray[np.intp]]:
    window = _FIRST_WINDOW
    while True:
        part = price[start : start + window]
        best = direction * np.maximum.accumulate(direction * part)
        turned = direction * (part - best) / best <= -threshold[start : start + window]
        if turned.any():
            stop = int(np.argmax(turned))
            return start + stop, _extremes(best[:stop], start)
        if start + window >= len(price):
            return None, _extremes(best, start)
        window *= 4


def _extremes(best: NDArray[np.float64], start: int) -> NDArray[np.intp]:
    return start + np.concatenate(([0], np.flatnonzero(np.diff(best)) + 1))


def _next_event(events: list[NDArray[np.intp]], bars: int) -> NDArray[np.intp]:
    if not events:
        return np.full(bars, bars)
    at = np.concatenate([*events, np.array([bars])])
    return at[np.searchsorted(at, np.arange(bars), side="right")]
