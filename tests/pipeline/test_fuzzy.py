"""Membership functions: degrees in [0, 1], unknown stays unknown, and no value knows another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fuzzy import FuzzyEngine, Gaussian, Membership, Trapezoidal, Triangular, build_membership

numbers = st.floats(-1e6, 1e6)
memberships = st.one_of(
    st.lists(numbers, min_size=3, max_size=3)
    .map(sorted)
    .filter(lambda p: p[0] < p[-1])
    .map(lambda p: Triangular(*p)),
    st.lists(numbers, min_size=4, max_size=4)
    .map(sorted)
    .filter(lambda p: p[0] < p[-1])
    .map(lambda p: Trapezoidal(*p)),
    st.tuples(numbers, st.floats(1e-3, 1e6)).map(lambda p: Gaussian(*p)),
)


@settings(deadline=None)
@given(
    membership=memberships,
    values=st.lists(st.one_of(numbers, st.just(float("nan"))), max_size=40),
    cut=st.integers(0, 40),
)
def test_degrees_lie_in_range_and_know_no_later_value(
    membership: Membership, values: list[float], cut: int
) -> None:
    """NaN stays NaN; values on bars 0..n are the same whether or not later bars exist."""
    array = np.array(values)
    degrees = FuzzyEngine().fuzzify([("term", membership)], array)
    assert degrees.shape == (len(values), 1)
    known = ~np.isnan(array)
    assert (np.isnan(degrees[:, 0]) == ~known).all()
    assert ((degrees[known] >= 0) & (degrees[known] <= 1)).all()
    np.testing.assert_array_equal(FuzzyEngine().fuzzify([("term", membership)], array[:cut]), degrees[:cut])


def test_triangles_and_trapezoids_by_hand() -> None:
    """Rising, peak, falling, outside; upright edges are 1 at the peak."""
    values = np.array([-1.0, 0.0, 5.0, 10.0, 15.0, 20.0, 21.0])
    np.testing.assert_allclose(Triangular(0, 10, 20)(values), [0, 0, 0.5, 1, 0.5, 0, 0])
    np.testing.assert_allclose(Trapezoidal(0, 5, 10, 20)(values), [0, 0, 1, 1, 0.5, 0, 0])
    np.testing.assert_allclose(Triangular(0, 0, 20)(values), [0, 1, 0.75, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose(Triangular(0, 20, 20)(values), [0, 0, 0.25, 0.5, 0.75, 1, 0])


def test_gaussians_by_formula() -> None:
    """exp(-(x - mean)² / (2 sigma²))."""
    values = np.linspace(-10, 10, 41)
    np.testing.assert_allclose(Gaussian(1, 2)(values), np.exp(-((values - 1) ** 2) / 8), atol=1e-15)


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("triangular", [3, 2, 1], r"parameters must rise, a <= b <= c, not \[3, 2, 1\]"),
        ("triangular", [1, 1, 1], "parameters must span a range"),
        ("triangular", [1, 2], "triangular takes 3 parameters, not 2"),
        ("gaussian", [1, 0], "sigma must be above 0"),
        ("gaussian", [float("nan"), 1], "mean must be a finite number"),
        ("round", [1], "unknown membership type 'round'"),
    ],
)
def test_what_makes_no_function_is_said(kind: str, parameters: list[float], said: str) -> None:
    """In words of the strategy's author."""
    with pytest.raises(ValueError, match=said):
        build_membership(kind, parameters)
