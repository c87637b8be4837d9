"""Where an operation is, where its own record is older than its pulse."""

from ktrdr_otel import semconv
from ktrdr_otel.watcher.place import Place, newer, words

RSI = {
    semconv.PROGRESS_TYPE: semconv.INDICATOR_COMPUTATION,
    semconv.SYMBOL_NAME: "AAPL",
    semconv.TIMEFRAME: "1h",
    semconv.ITEM_NAME: "RSI",
    semconv.ITEM_INDEX: "20",
    semconv.ITEM_TOTAL: "40",
}
SMA = Place(
    "Processing AAPL (1/5) [1h] - Computing SMA_19 (19/40)",
    {
        "symbol": "AAPL",
        "symbol_index": 1,
        "total_symbols": 5,
        "timeframe": "1h",
        "indicator_name": "SMA_19",
        "indicator_index": 19,
        "total_indicators": 40,
    },
)


def test_a_step_that_the_record_does_not_know_yet_is_told_as_it_would_have_been_stored() -> None:
    """In the same words and with the same keys, with the symbol's number, which the pulse does not have."""
    place = newer(SMA, RSI)
    assert place is not None
    assert place.message == "Processing AAPL (1/5) [1h] - Computing RSI (20/40)"
    assert place.context == {
        **SMA.context,
        "indicator_name": "RSI",
        "indicator_index": 20,
        "total_indicators": 40,
    }
    assert newer(place, RSI) is None


def test_of_another_symbol_no_number_is_made_up() -> None:
    """Also where the indicator is the same."""
    place = newer(SMA, {**RSI, semconv.SYMBOL_NAME: "MSFT"})
    assert place is not None
    assert place.message == "Computing RSI (20/40) [1h] MSFT" == words({**RSI, semconv.SYMBOL_NAME: "MSFT"})
    assert "symbol_index" not in place.context


def test_what_says_more_than_the_pulse_stays() -> None:
    """A batch inside the epoch, and the number of samples, are known to the record alone."""
    epoch = {semconv.PROGRESS_TYPE: semconv.EPOCH, semconv.ITEM_INDEX: "5", semconv.ITEM_TOTAL: "100"}
    assert newer(Place("Epoch 5/100 · Batch 120/500", {}), epoch) is None
    splitting = {semconv.PROGRESS_TYPE: semconv.PREPARATION, semconv.STEP: semconv.SPLITTING_DATA}
    known = Place("Splitting 15847 samples (train/val/test)", {"preparation_phase": semconv.SPLITTING_DATA})
    assert newer(known, splitting) is None
    assert newer(Place("Combining data from 5 symbols", {}), splitting) is not None
