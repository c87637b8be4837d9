"""Every indicator agrees with a plain formula, written here bar by bar, to 1e-9."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.indicators import INDICATORS, IndicatorEngine
from tests.pipeline.market import random_bars, rolling

Array = NDArray[np.float64]
BARS = random_bars(400, 11)
OPEN, HIGH, LOW, CLOSE, VOLUME = (
    BARS[name].to_numpy() for name in ("open", "high", "low", "close", "volume")
)
NAN = np.nan


def ema(values: Array, span: int) -> Array:
    """Begun with the simple mean of the first `span` known values."""
    result = np.full(len(values), NAN)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < span:
        return result
    start = known[0] + span - 1
    result[start] = values[known[0] : start + 1].mean()
    for at in range(start + 1, len(values)):
        result[at] = result[at - 1] + 2 / (span + 1) * (values[at] - result[at - 1])
    return result


def wilder(values: Array, period: int, start: int) -> Array:
    """Wilder's average: the mean of the first `period` values from `start` on, then a share of 1 / period."""
    result = np.full(len(values), NAN)
    result[start + period - 1] = values[start : start + period].mean()
    for at in range(start + period, len(values)):
        result[at] = (result[at - 1] * (period - 1) + values[at]) / period
    return result


def before(values: Array, bars: int) -> Array:
    """The value of so many bars ago."""
    return np.concatenate([np.full(bars, NAN), values[:-bars]])


def true_range() -> Array:
    """Unknown at the first bar."""
    closes = before(CLOSE, 1)
    ranges: Array = np.maximum(HIGH - LOW, np.maximum(np.abs(HIGH - closes), np.abs(LOW - closes)))
    return ranges


def atr(period: int) -> Array:
    """Wilder's average of the true range from the second bar on."""
    return wilder(true_range(), period, 1)


def rsi() -> dict[str, Array]:
    """Wilder 1978."""
    change = np.diff(CLOSE, prepend=NAN)
    up, down = wilder(np.maximum(change, 0), 14, 1), wilder(np.maximum(-change, 0), 14, 1)
    return {"value": 100 * up / (up + down)}


def cci() -> dict[str, Array]:
    """Lambert 1980."""
    price = (HIGH + LOW + CLOSE) / 3
    deviation = rolling(price, 20, lambda window: np.abs(window - window.mean()).mean())
    return {"value": (price - rolling(price, 20, np.mean)) / (0.015 * deviation)}


def place_in_range(period: int) -> Array:
    """Where the close lies between the lowest low and the highest high, 0-1."""
    highest, lowest = rolling(HIGH, period, np.max), rolling(LOW, period, np.min)
    return (CLOSE - lowest) / (highest - lowest)


def stochastic() -> dict[str, Array]:
    """Lane; TA-Lib gives both lines only from the bar on at which both are known."""
    k = rolling(100 * place_in_range(14), 3, np.mean)
    d = rolling(k, 3, np.mean)
    return {"k": np.where(np.isnan(d), NAN, k), "d": d}


def rvi() -> dict[str, Array]:
    """Ehlers 2002, with plain means."""

    def weighted(values: Array) -> Array:
        return (values + 2 * before(values, 1) + 2 * before(values, 2) + before(values, 3)) / 6

    index = rolling(weighted(CLOSE - OPEN), 10, np.mean) / rolling(weighted(HIGH - LOW), 10, np.mean)
    return {"rvi": index, "signal": rolling(index, 4, np.mean)}


def fisher() -> dict[str, Array]:
    """Ehlers 2002; the smoothing begins with the first value."""
    middle = (HIGH + LOW) / 2
    highest, lowest = rolling(HIGH, 10, np.max), rolling(LOW, 10, np.min)
    place = np.clip(2 * (middle - lowest) / (highest - lowest) - 1, -0.999, 0.999)
    raw = 0.5 * np.log((1 + place) / (1 - place))
    smooth = np.full(len(raw), NAN)
    smooth[9] = raw[9]
    for at in range(10, len(raw)):
        smooth[at] = smooth[at - 1] + 2 / 4 * (raw[at] - smooth[at - 1])
    return {"fisher": smooth, "signal": before(smooth, 1)}


def aroon() -> dict[str, Array]:
    """Chande 1995: the latest extreme counts where several are equal."""
    up = rolling(HIGH, 15, lambda window: 100 * (14 - np.argmax(window[::-1])) / 14)
    down = rolling(LOW, 15, lambda window: 100 * (14 - np.argmin(window[::-1])) / 14)
    return {"up": up, "down": down, "oscillator": up - down}


def bands() -> tuple[Array, Array, Array]:
    """Bollinger, deviation of the population."""
    middle, deviation = rolling(CLOSE, 20, np.mean), rolling(CLOSE, 20, np.std)
    return middle + 2 * deviation, middle, middle - 2 * deviation


def channels() -> tuple[Array, Array, Array]:
    """Keltner with 20 bars and an average true range of 10."""
    middle = ema(CLOSE, 20)
    return middle + 2 * atr(10), middle, middle - 2 * atr(10)


def squeeze() -> dict[str, Array]:
    """How far the bands lie inside the channels."""
    upper, _, lower = bands()
    top, _, bottom = channels()
    inside = np.minimum((top - upper) / (top - bottom), (lower - bottom) / (top - bottom))
    return {"value": np.maximum(inside, 0)}


def supertrend() -> dict[str, Array]:
    """Bar by bar, as its author describes it."""
    reach = 3 * atr(10)
    middle = (HIGH + LOW) / 2
    trend, direction = np.full(len(CLOSE), NAN), np.full(len(CLOSE), NAN)
    upper = lower = NAN
    now = 1.0
    for at in range(len(CLOSE)):
        if np.isnan(reach[at]):
            continue
        above, below = middle[at] + reach[at], middle[at] - reach[at]
        upper = above if np.isnan(upper) or above < upper or CLOSE[at - 1] > upper else upper
        lower = below if np.isnan(lower) or below > lower or CLOSE[at - 1] < lower else lower
        if CLOSE[at] >= upper:
            now = 1.0
        elif CLOSE[at] <= lower:
            now = -1.0
        direction[at] = now
        trend[at] = lower if now > 0 else upper
    return {"trend": trend, "direction": direction}


def macd() -> dict[str, Array]:
    """Appel 1979; TA-Lib begins both averages at the same bar and gives all lines from the signal's first bar on."""
    fast, slow = ema(CLOSE, 26), ema(CLOSE, 26)
    fast = np.full(len(CLOSE), NAN)
    fast[25] = CLOSE[14:26].mean()
    for at in range(26, len(CLOSE)):
        fast[at] = fast[at - 1] + 2 / 13 * (CLOSE[at] - fast[at - 1])
    line = fast - slow
    signal = ema(line, 9)
    line = np.where(np.isnan(signal), NAN, line)
    return {"line": line, "signal": signal, "histogram": line - signal}


def directional() -> dict[str, Array]:
    """Wilder 1978: sums that lose a share of 1 / 14 at each bar, begun with 13 plain bars as TA-Lib does."""
    up, down = np.diff(HIGH, prepend=NAN), -np.diff(LOW, prepend=NAN)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    ranges = true_range()
    count = len(CLOSE)
    sums = {"plus": plus[1:14].sum(), "minus": minus[1:14].sum(), "range": ranges[1:14].sum()}
    plus_di, minus_di, dx = np.full(count, NAN), np.full(count, NAN), np.full(count, NAN)
    for at in range(14, count):
        for name, values in (("plus", plus), ("minus", minus), ("range", ranges)):
            sums[name] += values[at] - sums[name] / 14
        plus_di[at], minus_di[at] = 100 * sums["plus"] / sums["range"], 100 * sums["minus"] / sums["range"]
        dx[at] = 100 * abs(plus_di[at] - minus_di[at]) / (plus_di[at] + minus_di[at])
    return {"adx": wilder(dx, 14, 14), "plus_di": plus_di, "minus_di": minus_di}


def parabolic() -> dict[str, Array]:
    """Wilder 1978; the trend begins with the larger of the first two directional moves."""
    stops = np.full(len(CLOSE), NAN)
    rising = not (LOW[0] - LOW[1] > HIGH[1] - HIGH[0] and LOW[0] - LOW[1] > 0)
    factor, extreme = 0.02, HIGH[1] if rising else LOW[1]
    stop = LOW[0] if rising else HIGH[0]
    for at in range(1, len(CLOSE)):
        yesterday = at - 1
        # TA-Lib looks at the first bar as if it were the second.
        low_before, high_before = (LOW[1], HIGH[1]) if at == 1 else (LOW[yesterday], HIGH[yesterday])
        if rising and LOW[at] <= stop:
            rising, stop = False, max(extreme, high_before, HIGH[at])
            stops[at] = stop
            factor, extreme = 0.02, LOW[at]
            stop = max(stop + factor * (extreme - stop), high_before, HIGH[at])
        elif not rising and HIGH[at] >= stop:
            rising, stop = True, min(extreme, low_before, LOW[at])
            stops[at] = stop
            factor, extreme = 0.02, HIGH[at]
            stop = min(stop + factor * (extreme - stop), low_before, LOW[at])
        else:
            stops[at] = stop
            beyond = HIGH[at] > extreme if rising else LOW[at] < extreme
            if beyond:
                extreme, factor = (HIGH[at] if rising else LOW[at]), min(factor + 0.02, 0.2)
            stop += factor * (extreme - stop)
            bound = (min(stop, low_before, LOW[at])) if rising else (max(stop, high_before, HIGH[at]))
            stop = bound
    return {"value": stops}


def ichimoku() -> dict[str, Array]:
    """Hosoda 1969, every line at the bar at which it is known."""

    def middle(period: int) -> Array:
        return (rolling(HIGH, period, np.max) + rolling(LOW, period, np.min)) / 2

    tenkan, kijun = middle(9), middle(26)
    return {
        "tenkan": tenkan,
        "kijun": kijun,
        "senkou_a": before((tenkan + kijun) / 2, 26),
        "senkou_b": before(middle(52), 26),
        "chikou": before(CLOSE, 26),
    }


def zigzag() -> dict[str, Array]:
    """The last extreme against which the price has moved 5 %, from the bar on at which it had."""
    values = np.full(len(CLOSE), NAN)
    pivot, extreme, direction = NAN, CLOSE[0], 0
    for at in range(1, len(CLOSE)):
        change = (CLOSE[at] - extreme) / extreme
        if direction == 0:
            if abs(change) >= 0.05:
                pivot, extreme, direction = CLOSE[0], CLOSE[at], 1 if change > 0 else -1
        elif direction * (CLOSE[at] - extreme) > 0:
            extreme = CLOSE[at]
        elif direction * change <= -0.05:
            pivot, extreme, direction = extreme, CLOSE[at], -direction
        values[at] = pivot
    return {"value": values}


def on_balance_volume() -> dict[str, Array]:
    """Granville 1963."""
    total, values = 0.0, []
    for at in range(len(CLOSE)):
        if at:
            total += VOLUME[at] * float(np.sign(CLOSE[at] - CLOSE[at - 1]))
        values.append(total)
    return {"value": np.array(values)}


def money_flow_index() -> dict[str, Array]:
    """Quong and Soudack 1989."""
    price = (HIGH + LOW + CLOSE) / 3
    change = np.diff(price, prepend=NAN)
    up, down = np.where(change > 0, price * VOLUME, 0.0), np.where(change < 0, price * VOLUME, 0.0)
    gained, lost = rolling(up, 14, np.sum), rolling(down, 14, np.sum)
    values = 100 * gained / (gained + lost)
    values[:14] = NAN
    return {"value": values}


def flow() -> Array:
    """Where the close lies in the bar's range, -1 to 1."""
    ranged = HIGH - LOW
    return np.where(ranged > 0, (2 * CLOSE - HIGH - LOW) / np.where(ranged > 0, ranged, 1), 0.0)


def chaikin_money_flow() -> dict[str, Array]:
    """With ktrdr's by-products."""
    values = rolling(flow() * VOLUME, 21, np.sum) / rolling(VOLUME, 21, np.sum)
    signal = pd.Series(values).ewm(span=9, adjust=False).mean().to_numpy()
    return {
        "cmf": values,
        "mf_multiplier": flow(),
        "mf_volume": flow() * VOLUME,
        "momentum": values - before(values, 5),
        "signal": signal,
        "histogram": values - signal,
        "above_zero": np.where(np.isnan(values), NAN, values > 0),
        "below_zero": np.where(np.isnan(values), NAN, values < 0),
    }


def accumulation() -> dict[str, Array]:
    """With ktrdr's by-products."""
    line = np.array([(flow() * VOLUME)[: at + 1].sum() for at in range(len(CLOSE))])
    mean = np.array([line[max(0, at - 49) : at + 1].mean() if at >= 19 else NAN for at in range(len(line))])
    return {
        "line": line,
        "mf_multiplier": flow(),
        "mf_volume": flow() * VOLUME,
        "roc_10": 100 * (line - before(line, 10)) / before(line, 10),
        "momentum_21": line - before(line, 21),
        "relative_strength": 100 * (line / mean - 1),
    }


def named(upper: Array, middle: Array, lower: Array) -> dict[str, Array]:
    """The outputs of a band."""
    return {"upper": upper, "middle": middle, "lower": lower}


def donchian() -> dict[str, Array]:
    """The highest high and the lowest low."""
    upper, lower = rolling(HIGH, 20, np.max), rolling(LOW, 20, np.min)
    return named(upper, (upper + lower) / 2, lower)


def vwap() -> dict[str, Array]:
    """The mean typical price by volume."""
    price = (HIGH + LOW + CLOSE) / 3
    return {"value": rolling(price * VOLUME, 20, np.sum) / rolling(VOLUME, 20, np.sum)}


def linear_weights() -> dict[str, Array]:
    """1, 2, ... 20, the newest the heaviest."""
    weights = np.arange(1, 21)
    return {"value": rolling(CLOSE, 20, lambda window: float((window * weights).sum() / weights.sum()))}


REFERENCES: dict[str, Callable[[], dict[str, Array]]] = {
    "rsi": rsi,
    "roc": lambda: {"value": 100 * (CLOSE / before(CLOSE, 10) - 1)},
    "momentum": lambda: {"value": CLOSE - before(CLOSE, 10)},
    "cci": cci,
    "williamsr": lambda: {"value": 100 * (place_in_range(14) - 1)},
    "stochastic": stochastic,
    "rvi": rvi,
    "fishertransform": fisher,
    "aroon": aroon,
    "atr": lambda: {"value": atr(14)},
    "bollingerbands": lambda: named(*bands()),
    "bollingerbandwidth": lambda: {"value": (bands()[0] - bands()[2]) / bands()[1]},
    "keltnerchannels": lambda: named(*channels()),
    "donchianchannels": donchian,
    "squeezeintensity": squeeze,
    "sma": lambda: {"value": rolling(CLOSE, 20, np.mean)},
    "ema": lambda: {"value": ema(CLOSE, 20)},
    "wma": linear_weights,
    "macd": macd,
    "adx": directional,
    "parabolicsar": parabolic,
    "supertrend": supertrend,
    "ichimoku": ichimoku,
    "distancefromma": lambda: {"value": 100 * (CLOSE / rolling(CLOSE, 20, np.mean) - 1)},
    "zigzag": zigzag,
    "obv": on_balance_volume,
    "vwap": vwap,
    "mfi": money_flow_index,
    "cmf": chaikin_money_flow,
    "adline": accumulation,
    "volumeratio": lambda: {"value": VOLUME / rolling(VOLUME, 20, np.mean)},
}


def test_every_indicator_has_a_reference() -> None:
    """None is left out."""
    assert REFERENCES.keys() == INDICATORS.keys()


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_agrees_with_its_formula(name: str) -> None:
    """To 1e-9 of the value's size, with the same bars unknown."""
    expected = REFERENCES[name]()
    actual = IndicatorEngine().compute(name, {}, BARS)
    assert actual.keys() == expected.keys()
    for output, values in expected.items():
        scale = max(1.0, float(np.nanmax(np.abs(values))))
        np.testing.assert_allclose(
            actual[output] / scale,
            values / scale,
            rtol=0,
            atol=1e-9,
            equal_nan=True,
            err_msg=f"{name}.{output}",
        )
