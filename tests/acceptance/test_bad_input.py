"""Bad input is one clear line on stderr and exit code 2, before any operation exists."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import COMMAND, STRATEGY, Place


def broken(folder: Path, name: str, text: str) -> Path:
    """A strategy file with one thing wrong."""
    path = folder / name
    path.write_text(text)
    return path


GOOD = STRATEGY.read_text()
BAD_STRATEGIES = {
    "unparsable": ("name: [", "not YAML"),
    "unknown indicator": (GOOD.replace("type: rsi,", "type: rsj,", 1), "did you mean rsi?"),
    "unknown parameter": (GOOD.replace("period: 7}", "perriod: 7}", 1), "did you mean period?"),
    "fuzzy set without indicator": (
        GOOD.replace("indicator: rsi_7", "indicator: rsi_8", 1),
        "fuzzy_sets.rsi_7.indicator: no indicator 'rsi_8'; did you mean rsi_7?",
    ),
    "membership not rising": (
        GOOD.replace("[0, 20, 45]", "[45, 20, 0]", 1),
        "fuzzy_sets.rsi_7.oversold: parameters must rise, a <= b <= c, not [45, 20, 0]",
    ),
}


@pytest.mark.parametrize("fault", sorted(BAD_STRATEGIES))
def test_a_strategy_that_cannot_be_used_is_one_line(place: Place, fault: str) -> None:
    """On stderr, exit code 2, before any operation exists."""
    text, said = BAD_STRATEGIES[fault]
    arguments = place.train_arguments()
    arguments[arguments.index(str(STRATEGY))] = str(broken(place.folder, "strategy.yaml", text))
    _is_refused(place, arguments, said)


def test_a_missing_strategy_is_one_line(place: Place) -> None:
    """With the path."""
    arguments = place.train_arguments()
    arguments[arguments.index(str(STRATEGY))] = str(place.folder / "nowhere.yaml")
    _is_refused(place, arguments, "nowhere.yaml: there is no such file")


def test_a_symbol_without_bars_is_one_line(place: Place) -> None:
    """With what the folder has."""
    arguments = place.train_arguments()
    arguments[arguments.index("AAPL,MSFT")] = "AAPL,NOPE"
    _is_refused(place, arguments, "no 1d bars of NOPE")


Rows = list[list[str]]  # the first is the header


def without_volume(rows: Rows) -> Rows:
    """One column fewer."""
    return [row[:-1] for row in rows]


def turned(rows: Rows) -> Rows:
    """The newest first, as some sources give them."""
    return [rows[0], *reversed(rows[1:])]


def twice(rows: Rows) -> Rows:
    """The second bar is there again."""
    return [*rows[:3], rows[2], *rows[3:]]


def zoneless(rows: Rows) -> Rows:
    """As a spreadsheet writes them."""
    return [rows[0], *([row[0].removesuffix("Z"), *row[1:]] for row in rows[1:])]


def few(rows: Rows) -> Rows:
    """Fewer than the strategy needs to begin."""
    return rows[:60]


def empty_close(rows: Rows) -> Rows:
    """Nothing in one column."""
    return [rows[0], *([*row[:4], "", row[5]] for row in rows[1:])]


def negative_low(rows: Rows) -> Rows:
    """As a future of oil once was, and no share is."""
    return [*rows[:2], [*rows[2][:3], "-3.8", *rows[2][4:]], *rows[3:]]


BAD_BARS: list[tuple[Callable[[Rows], Rows], str]] = [
    (without_volume, "missing column volume; it has timestamp, open, high, low, close"),
    (
        turned,
        "row 2 ({last}): timestamp is before that of the row above; sort the rows, one per timestamp",
    ),
    (twice, "row 3 (2000-03-02T00:00:00Z): timestamp is there twice; sort the rows, one per timestamp"),
    (
        zoneless,
        "row 1: timestamp '2000-03-01T00:00:00' has no time zone; write UTC as 2024-01-31T00:00:00Z",
    ),
    (few, "too few bars: 59 bars, at least 100 needed; the file has 59, 2000-03-01 to 2000-05-23"),
    (empty_close, "column close has no value in any row; fill it, or do without this file"),
    (negative_low, "row 2 (2000-03-02T00:00:00Z): low is not above 0; mend the row or leave it out"),
]


@pytest.mark.parametrize(("spoil", "said"), BAD_BARS, ids=[spoil.__name__ for spoil, _ in BAD_BARS])
def test_bars_that_cannot_be_used_are_one_line(
    place: Place, spoil: Callable[[Rows], Rows], said: str
) -> None:
    """The file, the row where there is one, what is wrong and what to do; no operation."""
    folder = place.folder / "bars"
    shutil.copytree(place.bars, folder)
    path = folder / "MSFT_1d.csv"  # the second symbol's: none of the first has been worked on
    rows = spoil([line.split(",") for line in path.read_text().splitlines()])
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    arguments = place.train_arguments("--data", str(folder))
    done = _is_refused(place, arguments, said.format(last=rows[2][0]))
    assert done.startswith(f"error: {path}: ")


def test_a_database_that_cannot_be_written_is_one_line(place: Place) -> None:
    """A folder is no database."""
    arguments = place.train_arguments()
    arguments[arguments.index(str(place.database))] = str(place.folder)
    _is_refused(place, arguments, f"{place.folder}: unable to open database file")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("operations.txt", "operations.txt: cannot be written to: File exists; give a folder by --output"),
        ("/proc/runs", "/proc/runs: cannot be written to: No such file or directory; give a folder by"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(place: Place, output: str, said: str) -> None:
    """Before hours are spent on a model that cannot be kept; what was there is as it was."""
    (place.folder / "operations.txt").write_text("mine")
    arguments = place.train_arguments("--output", str(place.folder / output))
    _is_refused(place, arguments, said)
    assert (place.folder / "operations.txt").read_text() == "mine"


def test_a_run_does_not_take_the_place_of_anything_else(place: Place) -> None:
    """An operation called as the folder of its bars would put its model there."""
    arguments = place.train_arguments("--output", str(place.bars.parent), "--operation-id", place.bars.name)
    _is_refused(place, arguments, f"{place.bars}: is there already and is no model snapshot")
    assert (place.bars / "AAPL_1d.csv").exists()


def test_an_operation_id_that_cannot_be_shown_is_one_line(place: Place) -> None:
    """It would stand in tables and URLs."""
    _is_refused(
        place, place.train_arguments("--operation-id", "a\nb"), r"operation id 'a\nb': give it 1 to 200"
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--live", "'bogus' is not one of 'snapshot', 'markers', 'off'; see `ktrdr-otel train --help`"),
        ("--notify", "error: notify: the URL at place 1 is none that Apprise knows"),
        ("--otlp-endpoint", "error: otlp_endpoint: bogus is no URL like http://localhost:4318"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(place: Place, option: str, said: str) -> None:
    """At once: nobody waits for torch to hear of it."""
    done = place.run(place.train_arguments(option, "bogus"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"{said}\n")
    assert "torch" not in done.stdout


def test_any_operation_id_stays_inside_the_output(place: Place) -> None:
    """Its model is in one folder there, and what to type next can be typed."""
    operation_id = "../../it's out"
    done = place.run(place.train_arguments("--operation-id", operation_id, epochs=1))
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (place.folder / "runs").iterdir()] == ["%2E.%2F..%2Fit%27s%20out"]
    assert {each.name for each in place.folder.iterdir()} <= {
        "runs",
        *(f"operations.db{end}" for end in ("", "-wal", "-shm")),
    }
    [shown] = [line for line in done.stdout.splitlines() if "operations show" in line]
    command = shlex.split(shown)
    assert command[:3] == ["ktrdr-otel", "operations", "show"]
    told = place.run([*COMMAND, *command[1:]])
    assert told.returncode == 0, told.stderr
    assert operation_id in told.stdout


def test_an_operation_id_can_be_used_once(place: Place) -> None:
    """The second run with it never begins."""
    first = place.run(place.train_arguments("--operation-id", "once", epochs=1))
    assert first.returncode == 0, first.stderr
    second = place.run(place.train_arguments("--operation-id", "once", epochs=1))
    assert second.returncode == 2
    assert second.stderr == "error: operation once exists already; choose another id\n"
    assert [row["status"] for row in place.operations("list")] == ["completed"]


def _is_refused(place: Place, arguments: list[str], said: str) -> str:
    done = place.run(arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    if place.database.exists():
        assert place.operations("list") == []
    return done.stderr
