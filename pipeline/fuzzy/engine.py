"""The engine: values of an indicator in, degrees of membership out. It knows nothing of progress."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.fuzzy.membership import Membership


class FuzzyEngine:
    """Fuzzifies values; pure."""

    def fuzzify(
        self, memberships: Sequence[tuple[str, Membership]], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Degrees in [0, 1], one column per term in the order given; `(bars,)` to `(bars, terms)`, NaN stays NaN."""
        degrees = np.empty((len(memberships), len(values)))
        for row, (_, membership) in zip(degrees, memberships, strict=True):
            row[:] = membership(values)
        return degrees.T
