"""Membership functions (Zadeh 1965): a value in, a degree from 0 to 1 out; an unknown value stays unknown."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Membership(Protocol):
    """How much values belong to a term."""

    def __call__(self, values: Values) -> Values:
        """Degrees in [0, 1] for values `(bars,)`; NaN where the value is NaN."""
        ...


@dataclass(frozen=True)
class Triangular:
    """Rises from `a` to 1 at `b`, falls to 0 at `c`; where two of them meet the edge is upright and 1 at the peak.

    All three equal would be no range and are refused.
    """

    a: float
    b: float
    c: float

    def __post_init__(self) -> None:
        _require_rising(("a", "b", "c"), (self.a, self.b, self.c))

    def __call__(self, values: Values) -> Values:
        """Degrees `(bars,)`."""
        return _between(values, self.a, self.b, self.b, self.c)


@dataclass(frozen=True)
class Trapezoidal:
    """Rises from `a` to 1 at `b`, stays there to `c`, falls to 0 at `d`."""

    a: float
    b: float
    c: float
    d: float

    def __post_init__(self) -> None:
        _require_rising(("a", "b", "c", "d"), (self.a, self.b, self.c, self.d))

    def __call__(self, values: Values) -> Values:
        """Degrees `(bars,)`."""
        return _between(values, self.a, self.b, self.c, self.d)


@dataclass(frozen=True)
class Gaussian:
    """`exp(-(x - mean)² / (2 sigma²))`."""

    mean: float
    sigma: float

    def __post_init__(self) -> None:
        _require_finite(("mean", "sigma"), (self.mean, self.sigma))
        if self.sigma <= 0:
            raise ValueError(f"sigma must be above 0, not {self.sigma:g}")

    def __call__(self, values: Values) -> Values:
        """Degrees `(bars,)`."""
        # So far from the mean that the square overflows, the degree is 0 as it should be.
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.sigma
            np.multiply(scaled, scaled, out=scaled)
        np.multiply(scaled, -0.5, out=scaled)
        return np.exp(scaled, out=scaled)


_KINDS: Mapping[str, tuple[Callable[..., Membership], int]] = {
    "triangular": (Triangular, 3),
    "trapezoidal": (Trapezoidal, 4),
    "gaussian": (Gaussian, 2),
}


def build_membership(kind: str, parameters: Sequence[float]) -> Membership:
    """The function of that kind; raises ValueError in words that a strategy's author understands."""
    if kind.lower() not in _KINDS:
        raise ValueError(f"unknown membership type {kind!r}; known are {', '.join(_KINDS)}")
    make, count = _KINDS[kind.lower()]
    if len(parameters) != count:
        raise ValueError(f"{kind} takes {count} parameters, not {len(parameters)}")
    return make(*(float(each) for each in parameters))


def _between(values: Values, a: float, b: float, c: float, d: float) -> Values:
    """0 outside [a, d], 1 inside [b, c], straight in between."""
    # The slope of an edge narrower than a float can divide by is infinite: upright, as it should be.
    with np.errstate(over="ignore"):
        rising = (
            (values - a) / (b - a)
            if b > a
            else np.where(values >= b, 1.0, np.where(np.isnan(values), np.nan, 0.0))
        )
        falling = (
            (d - values) / (d - c)
            if d > c
            else np.where(values <= c, 1.0, np.where(np.isnan(values), np.nan, 0.0))
        )
    degrees: Values = np.minimum(rising, falling)
    return np.clip(degrees, 0.0, 1.0, out=degrees)


def _require_finite(names: Sequence[str], parameters: Sequence[float]) -> None:
    for name, value in zip(names, parameters, strict=True):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value}")


def _require_rising(names: Sequence[str], parameters: Sequence[float]) -> None:
    _require_finite(names, parameters)
    if any(left > right for left, right in pairwise(parameters)):
        order = " <= ".join(names)
        raise ValueError(
            f"parameters must rise, {order}, not {[f'{each:g}' for each in parameters]}".replace("'", "")
        )
    if parameters[0] == parameters[-1]:
        raise ValueError(f"parameters must span a range, not the single value {parameters[0]:g}")
