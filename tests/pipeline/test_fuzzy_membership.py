"""Membership functions and their engine: hand-computed degrees, upright edges, and properties."""

import timeit

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.fuzzy import FuzzyEngine, Gaussian, Membership, Trapezoidal, Triangular, build_membership

NAN = float("nan")
prices = st.floats(-1e6, 1e6, allow_nan=False)


def degrees(membership: Membership, *values: float) -> list[float]:
    return [float(each) for each in membership(np.array(values))]


def test_a_triangle_rises_to_its_peak_and_falls() -> None:
    """Half way up and half way down are 0.5, beyond both ends is 0."""
    assert degrees(Triangular(0, 20, 40), -1, 0, 10, 20, 30, 40, 41) == [0, 0, 0.5, 1, 0.5, 0, 0]


def test_a_trapezoid_is_whole_on_its_plateau() -> None:
    """Between b and c the degree is 1, both ends included."""
    assert degrees(Trapezoidal(0, 10, 20, 40), 0, 5, 10, 15, 20, 30, 40) == [0, 0.5, 1, 1, 1, 0.5, 0]


def test_a_gaussian_is_whole_at_its_mean_and_falls_as_the_formula_says() -> None:
    """One deviation away it is exp(-1/2), two away exp(-2)."""
    assert degrees(Gaussian(50, 10), 50, 40, 60, 70) == pytest.approx(
        [1, np.exp(-0.5), np.exp(-0.5), np.exp(-2)], abs=0
    )


@pytest.mark.parametrize(
    ("membership", "values", "expected"),
    [
        (Triangular(0, 0, 40), (-1e-9, 0, 20, 40), [0, 1, 0.5, 0]),
        (Triangular(0, 40, 40), (0, 20, 40, 40 + 1e-9), [0, 0.5, 1, 0]),
        (Trapezoidal(0, 0, 10, 20), (-1, 0, 10, 15), [0, 1, 1, 0.5]),
        (Trapezoidal(0, 10, 20, 20), (5, 10, 20, 21), [0.5, 1, 1, 0]),
    ],
)
def test_an_edge_without_width_is_upright_and_belongs_to_the_peak(
    membership: Membership, values: tuple[float, ...], expected: list[float]
) -> None:
    """Where two parameters meet nothing is divided by nothing."""
    assert degrees(membership, *values) == expected


@pytest.mark.parametrize(
    "membership",
    [
        Triangular(0, 20, 40),
        Triangular(0, 0, 40),
        Triangular(0, 40, 40),
        Trapezoidal(0, 1, 2, 3),
        Gaussian(0, 1),
    ],
)
def test_an_unknown_value_has_an_unknown_degree(membership: Membership) -> None:
    """NaN stays NaN, also at upright edges, and infinity belongs to nothing."""
    found = degrees(membership, NAN, np.inf, -np.inf)
    assert np.isnan(found[0])
    assert found[1:] == [0, 0]


def test_an_edge_narrower_than_numbers_can_divide_is_upright() -> None:
    """The slope of a subnormal edge is infinite; the degrees are not, and nobody is warned."""
    tiny = 5e-324
    assert degrees(Triangular(0, tiny, 1), -1, 0, tiny) == [0, 0, 1]
    assert degrees(Trapezoidal(-1, 0, 0, tiny), 1) == [0]
    assert degrees(Gaussian(0, tiny), 0, 1e6) == [1, 0]


@given(st.lists(prices, min_size=4, max_size=4), st.lists(prices, min_size=1, max_size=20))
def test_degrees_lie_between_0_and_1_and_grow_towards_the_plateau(
    parameters: list[float], values: list[float]
) -> None:
    """On each side of the plateau a value nearer to it never belongs less."""
    a, b, c, d = sorted(parameters)
    assume(a < d)
    found = Trapezoidal(a, b, c, d)(np.array(sorted(values)))
    assert ((found >= 0) & (found <= 1)).all()
    ordered = np.array(sorted(values))
    assert (np.diff(found[ordered <= b]) >= 0).all()
    assert (np.diff(found[ordered >= c]) <= 0).all()


@given(st.lists(prices, min_size=3, max_size=3), st.lists(prices, max_size=20))
def test_a_triangle_is_a_trapezoid_whose_plateau_is_a_point(
    parameters: list[float], values: list[float]
) -> None:
    """Both give the same degrees, bit by bit."""
    a, b, c = sorted(parameters)
    assume(a < c)
    rows = np.array(values, dtype=np.float64)
    np.testing.assert_array_equal(Triangular(a, b, c)(rows), Trapezoidal(a, b, b, c)(rows))


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("triangular", [3, 2, 4], "a <= b <= c"),
        ("trapezoidal", [1, 2, 4, 3], "a <= b <= c <= d"),
        ("trapezoidal", [5, 5, 5, 5], "must span a range"),
        ("triangular", [1, 2], "takes 3 parameters, not 2"),
        ("gaussian", [1, 2, 3], "takes 2 parameters, not 3"),
        ("gaussian", [50, 0], "sigma must be above 0"),
        ("gaussian", [50, -1], "sigma must be above 0"),
        ("triangular", [0, 1, NAN], "c must be a finite number"),
        ("trapezoidal", [0, 1, 2, float("inf")], "d must be a finite number"),
        ("sigmoid", [0, 1], "known are triangular, trapezoidal, gaussian"),
    ],
)
def test_parameters_that_mean_nothing_are_refused_in_words(
    kind: str, parameters: list[float], message: str
) -> None:
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=message):
        build_membership(kind, parameters)


def test_the_kind_is_read_in_either_case() -> None:
    """ktrdr's names are case-insensitive."""
    assert build_membership("Gaussian", [1, 2]) == Gaussian(1.0, 2.0)


def test_the_engine_gives_one_column_per_term_in_the_order_given() -> None:
    """Three terms on two bars are `(2, 3)`, float64."""
    terms: list[tuple[str, Membership]] = [
        ("low", Triangular(0, 0, 50)),
        ("mid", Triangular(0, 50, 100)),
        ("high", Gaussian(100, 25)),
    ]
    found = FuzzyEngine().fuzzify(terms, np.array([0.0, 100.0]))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[1, 0, np.exp(-8)], [0, 0, 1]], rtol=1e-12)


def test_the_engine_leaves_its_values_as_they_were_and_takes_no_bars_at_all() -> None:
    """It is pure; nothing in is nothing out, with its columns."""
    values = np.array([NAN, 1.0, 2.0])
    FuzzyEngine().fuzzify([("a", Gaussian(0, 1)), ("b", Triangular(0, 1, 2))], values)
    np.testing.assert_array_equal(values, [NAN, 1, 2])
    assert FuzzyEngine().fuzzify([("a", Gaussian(0, 1))], np.empty(0)).shape == (0, 1)


def test_three_terms_of_twenty_years_take_no_loop_over_bars() -> None:
    """The cost per bar is that of arrays, not of Python: far below a microsecond."""
    values = np.random.default_rng(0).uniform(0, 100, 5031)
    terms: list[tuple[str, Membership]] = [
        ("a", Triangular(0, 20, 45)),
        ("b", Triangular(30, 50, 70)),
        ("c", Triangular(55, 80, 100)),
    ]
    engine = FuzzyEngine()
    best = min(timeit.repeat(lambda: engine.fuzzify(terms, values), number=5, repeat=20)) / 5
    assert best / len(values) < 0.5e-6
