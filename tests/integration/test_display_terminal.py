"""Real runs on a real terminal, in pipes, and beside the program's own output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.terminal import Screen, run_in_terminal

PROGRAM = """
import logging, os, sys, time
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
named = logging.getLogger("named")
named.propagate = False
named.addHandler(logging.StreamHandler())
from ktrdr_otel import checkpoint, observe, track
with observe("train momentum", operation_type="training", operation_id="run-1", display=sys.argv[1]):
    for index, symbol in enumerate(["AAPL", "MSFT"], 1):
        for number in range(1, 6):
            with checkpoint("indicator_computation", symbol=symbol, symbol_index=index, total_symbols=2,
                            timeframe="1h", indicator_name=f"I{number}", indicator_index=number,
                            total_indicators=5):
                time.sleep(0.02)
        print(f"printed after {symbol} [bold]{'x' * 90}")
        logging.info("logged after %s", symbol)
        named.info("named after %s", symbol)
    print("dots", end="", flush=True)
    for _ in range(3):
        print(".", end="", flush=True)
    print()
    for index in range(1, 4):
        with checkpoint("epoch", epoch_index=index, total_epochs=3):
            for _ in track(range(20), "batch"):
                time.sleep(0.005)
print("after the run")
logging.info("logged after the run")
"""


def environment(tmp_path: Path) -> dict[str, str]:
    """A store of its own."""
    return {"KTRDR_OTEL_DATABASE": str(tmp_path / "operations.db")}


def piped(tmp_path: Path, display: str) -> "subprocess.CompletedProcess[str]":
    """The program with its output in pipes."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, display],
        env=os.environ | environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("columns", [100, 44])
def test_prints_and_log_lines_stay_whole_above_the_picture(tmp_path: Path, columns: int) -> None:
    """Each is on the screen once, in its order, and one last frame stays between the run and what follows."""
    code, written = run_in_terminal(
        ["-c", PROGRAM, "auto"], columns=columns, environment=environment(tmp_path)
    )
    screen = Screen(columns)
    screen.feed(written)
    text = "".join(screen.lines())

    assert code == 0
    own = ["x" * 90, "INFO logged after AAPL", "named after AAPL", "printed after MSFT [bold]", "dots..."]
    places = [text.index(each) for each in own]
    assert places == sorted(places)
    for each in (
        "logged after AAPL",
        "named after MSFT",
        "dots...",
        "● train momentum",
        "logged after the run",
    ):
        assert text.count(each) == 1
    head = text.index("● train momentum")
    assert text.index("dots...") < head < text.index("Training complete") < text.index("after the run")
    assert "completed" in text[head:]
    assert screen.cursor_is_shown


def test_errors_that_lead_elsewhere_still_go_there(tmp_path: Path) -> None:
    """With `2>log` the log lines are in the file, not on the screen."""
    log = tmp_path / "log"
    _, written = run_in_terminal(["-c", PROGRAM, "auto"], environment=environment(tmp_path), stderr=log)

    ours = [line for line in log.read_text().splitlines() if " after " in line]
    assert ours == [
        "INFO logged after AAPL",
        "named after AAPL",
        "INFO logged after MSFT",
        "named after MSFT",
        "INFO logged after the run",
    ]
    assert "logged" not in written


def test_a_terminal_without_colours_gets_none(tmp_path: Path) -> None:
    """`NO_COLOR` is obeyed; the picture is drawn all the same."""
    _, written = run_in_terminal(
        ["-c", PROGRAM, "auto"], environment=environment(tmp_path) | {"NO_COLOR": "1"}
    )

    assert "Preprocessing" in written
    assert "\x1b[3" not in written.replace("\x1b[3m", "")


def test_a_forked_child_prints_and_ends(tmp_path: Path) -> None:
    """Data loaders fork while the picture is drawn: the child has the real streams and no lock to wait for."""
    program = """
import os, time
from ktrdr_otel import observe
with observe("forks", display="live"):
    for number in range(10):
        child = os.fork()
        if child == 0:
            print(f"child {number}", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        time.sleep(0.02)
"""
    code, written = run_in_terminal(["-c", program], environment=environment(tmp_path))

    assert code == 0
    assert [written.count(f"child {number}") for number in range(10)] == [1] * 10


def test_an_exception_leaves_a_usable_terminal(tmp_path: Path) -> None:
    """The last frame says what broke, the traceback follows it, the cursor is back."""
    program = (
        "from ktrdr_otel import checkpoint, observe\n"
        "with observe('breaks', display='live'):\n"
        "    with checkpoint('load', item='MSFT', index=3, total=10):\n"
        "        raise ValueError('no volume')\n"
    )
    code, written = run_in_terminal(["-c", program], environment=environment(tmp_path))
    screen = Screen(100)
    screen.feed(written)
    text = "\n".join(screen.lines())

    assert code == 1
    assert text.index("ValueError in Load MSFT (3/10): no volume") < text.index("Traceback")
    assert screen.cursor_is_shown


@pytest.mark.parametrize("display", ["auto", "off"])
def test_a_library_writes_nothing_into_a_pipe(tmp_path: Path, display: str) -> None:
    """What the program prints is all there is on its standard output."""
    done = piped(tmp_path, display)

    assert [line[:13] for line in done.stdout.splitlines()] == ["printed after"] * 2 + [
        "dots...",
        "after the run",
    ]


def test_plain_lines_in_a_pipe_have_no_escape_codes(tmp_path: Path) -> None:
    """Nothing is buffered or coloured; the last indicator of each symbol and the end are there."""
    said = piped(tmp_path, "plain").stdout

    assert "\x1b" not in said
    assert said.startswith("operation run-1: train momentum\n")
    assert "Processing AAPL (1/2) [1h] - Computing I5 (5/5)" in said
    assert "Processing MSFT (2/2) [1h] - Computing I5 (5/5)" in said
    assert "100.0 %  operation run-1 completed\n" in said


def test_json_lines_have_every_unit(tmp_path: Path) -> None:
    """Two symbols with five indicators, three epochs: thirteen starts and thirteen ends, ticks between."""
    lines = piped(tmp_path, "json").stdout.splitlines()
    # The program has printed dots without a line end before some of them.
    said = [json.loads(line[line.index("{") :]) for line in lines if "{" in line]

    assert [sum(each["event"] == event for each in said) for event in ("started", "finished")] == [13, 13]
    assert [each["status"] for each in said if each["event"] == "status"] == ["running", "completed"]
    assert {each["total"] for each in said if each["event"] == "tick"} == {20}
    percentages = [each["percentage"] for each in said]
    assert percentages == sorted(percentages)


def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """`train | head -1`: the run goes on to its end, and its record says completed."""
    program = (
        "import sys\n"
        "from ktrdr_otel import checkpoint, observe\n"
        "with observe('piped', operation_id='run-1', display='plain'):\n"
        "    sys.stdin.readline()\n"
        "    for index in range(1, 4):\n"
        "        with checkpoint('load', item='x', index=index, total=3):\n"
        "            pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "operation run-1: piped\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()

    assert process.returncode == 0
    shown = subprocess.run(
        [sys.executable, "-m", "ktrdr_otel", "operations", "show", "run-1", "--json"],
        env=os.environ | environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(shown.stdout)["status"] == "completed"
