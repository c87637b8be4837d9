"""`ktrdr-otel operations` on a store with real runs in it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.integration.command_line import answer, ktrdr_otel
from tests.integration.terminal import Screen, run_in_terminal

HOSTILE = "A\x1b[2J\n[red]\x9bm"

RUNS = f"""
import contextlib, logging
from ktrdr_otel import CancellationError, checkpoint, observe
with observe("train momentum", operation_type="training", operation_id="well", display="off"):
    for index in range(1, 4):
        with checkpoint("indicator_computation", symbol="AAPL", symbol_index=1, total_symbols=1, timeframe="1h",
                        indicator_name=f"I{{index}}", indicator_index=index, total_indicators=3):
            pass
with contextlib.suppress(ValueError), observe({HOSTILE!r}, operation_id="broken", display="off"):
    with checkpoint("load", item={HOSTILE!r}, index=1, total=2):
        logging.getLogger("bars").warning({HOSTILE!r})
        raise ValueError({HOSTILE!r})
with contextlib.suppress(CancellationError), observe("stopped", operation_id="stopped", display="off") as run:
    run.cancel("enough")
    with checkpoint("load", item="x", index=1, total=2):
        pass
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that completed, one that failed with hostile names, and one that was cancelled."""
    path = tmp_path_factory.mktemp("store") / "operations.db"
    subprocess.run(
        [sys.executable, "-c", RUNS],
        env=os.environ | {"KTRDR_OTEL_DATABASE": str(path)},
        check=True,
        timeout=60,
    )
    return path


def test_list_json_is_one_array_newest_first(database: Path) -> None:
    """A program reads every operation with its state from one array."""
    found = answer(ktrdr_otel("operations", "list", "--json", database=database))

    assert [(each["operation_id"], each["status"]) for each in found] == [
        ("stopped", "cancelled"),
        ("broken", "failed"),
        ("well", "completed"),
    ]


def test_list_takes_a_status_a_limit_and_another_store(database: Path, tmp_path: Path) -> None:
    """What is given outranks the environment."""
    failed = answer(ktrdr_otel("operations", "list", "--json", "--status", "failed", database=database))
    newest = answer(
        ktrdr_otel("operations", "list", "--json", "--limit", "1", "--database", f"sqlite:///{database}")
    )
    with closing(open_service(load_settings(database=str(tmp_path / "empty.db")))) as opened:
        opened.list()
        empty = ktrdr_otel("operations", "list", "--database", str(tmp_path / "empty.db"), database=database)

    assert [each["operation_id"] for each in failed] == ["broken"]
    assert [each["operation_id"] for each in newest] == ["stopped"]
    assert empty.stdout == f"no operations in {tmp_path / 'empty.db'}\n"


def test_a_store_that_was_named_and_is_not_there_is_not_made(database: Path, tmp_path: Path) -> None:
    """Whoever only looks is told, in one line, and leaves nothing."""
    missing = tmp_path / "mistyped.db"
    for given, why in ((missing, "there is no such file"), (tmp_path, "is a folder")):
        done = ktrdr_otel("operations", "list", "--database", str(given), database=database)
        assert (done.returncode, done.stderr) == (2, f"error: {given}: {why}\n")
    assert not missing.exists()


def test_what_to_type_next_names_the_same_store(database: Path) -> None:
    """It can be typed as it stands."""
    shown = ktrdr_otel("operations", "show", "well", "--database", str(database)).stdout
    [following] = [line[14:] for line in shown.splitlines() if line.startswith("next")]
    assert ktrdr_otel(*shlex.split(following)[1:]).returncode == 0


def test_a_table_in_a_pipe_is_whole_and_without_escape_codes(database: Path) -> None:
    """What goes to grep is not cut to a width that nobody has; names from outside are one line of text."""
    done = ktrdr_otel("operations", "list", database=database)
    rows = done.stdout.splitlines()

    assert [row.split()[:2] for row in rows[1:]] == [
        ["stopped", "cancelled"],
        ["broken", "failed"],
        ["well", "completed"],
    ]
    assert "Load A\\x1b[2J\\n[red]\\x9bm (1/2)" in rows[2]
    assert not any(unicodedata.category(each) == "Cc" for each in done.stdout.replace("\n", ""))


def test_a_table_on_a_terminal_fits_it(database: Path) -> None:
    """At 50 columns the message is cut, and no line runs over."""
    code, written = run_in_terminal(
        ["-m", "ktrdr_otel", "operations", "list", "--database", str(database)], columns=50
    )
    screen = Screen(50)
    screen.feed(written)

    assert code == 0
    assert [line.split()[0] for line in screen.lines()] == ["operation", "stopped", "broken", "well"]
    assert any(line.endswith("…") for line in screen.lines())


def test_show_says_where_it_broke_and_what_to_type_next(database: Path) -> None:
    """State, step, error and trace, each on a line of text whatever the names hold."""
    shown = ktrdr_otel("operations", "show", "broken", database=database).stdout
    facts = {line[:14].strip(): line[14:] for line in shown.splitlines()}

    assert facts["status"] == "failed"
    assert facts["name"] == "A\\x1b[2J\\n[red]\\x9bm"
    assert facts["failed in"] == "Load A\\x1b[2J\\n[red]\\x9bm (1/2)"
    assert facts["error"] == "ValueError: A\\x1b[2J\\n[red]\\x9bm"
    assert len(facts["trace"]) == 32
    assert facts["traceback"] == "Traceback (most recent call last):"
    assert facts["log"].endswith(
        " WARNING bars: A\\x1b[2J\\n[red]\\x9bm  [Load A\\x1b[2J\\n[red]\\x9bm (1/2)]"
    )
    assert facts["next"] == "ktrdr-otel operations logs broken"


def test_logs_are_listed_as_lines_and_as_json(database: Path) -> None:
    """The words as they were for a program, on one line without control characters for a person."""
    done = ktrdr_otel("operations", "logs", "broken", database=database)
    [record] = answer(ktrdr_otel("operations", "logs", "broken", "--json", database=database))
    none = ktrdr_otel("operations", "logs", "well", database=database)

    assert done.stdout.count("\n") == 1
    assert "WARNING bars: A\\x1b[2J" in done.stdout
    assert (record["level"], record["logger"], record["message"]) == ("WARNING", "bars", HOSTILE)
    assert none.stdout == "operation well has logged nothing\n"


def test_show_json_has_the_names_as_they_were(database: Path) -> None:
    """A program gets the values; the text of the line has no control character."""
    done = ktrdr_otel("operations", "show", "broken", "--json", database=database)

    assert answer(done)["name"] == HOSTILE
    assert done.stdout.rstrip("\n").isprintable()


def test_show_says_why_it_was_cancelled(database: Path) -> None:
    """The reason that was given is the reason that is read."""
    shown = ktrdr_otel("operations", "show", "stopped", database=database).stdout

    assert any(line.split(maxsplit=1) == ["cancelled", "enough"] for line in shown.splitlines())


def test_checkpoints_are_listed_as_json_and_as_a_table(database: Path) -> None:
    """Every unit with its place; `--after` goes on from a sequence."""
    found = answer(ktrdr_otel("operations", "checkpoints", "well", "--json", database=database))
    units = [each for each in found if each["progress_type"] == "indicator_computation"]
    rest = answer(
        ktrdr_otel(
            "operations",
            "checkpoints",
            "well",
            "--json",
            "--after",
            str(found[0]["sequence"]),
            database=database,
        )
    )
    table = ktrdr_otel("operations", "checkpoints", "broken", database=database).stdout

    assert sorted(each["item_name"] for each in units) == ["I1", "I2", "I3"]
    assert {(each["symbol"], each["timeframe"], each["status"]) for each in units} == {
        ("AAPL", "1h", "completed")
    }
    assert rest == found[1:]
    assert "ValueError: A\\x1b[2J\\n[red]\\x9bm" in table


@pytest.mark.parametrize("command", ["show", "checkpoints", "logs", "cancel"])
def test_an_unknown_id_is_one_line_and_exit_code_2(database: Path, command: str) -> None:
    """No traceback for what a user can mend, and no terminal code from what was typed."""
    done = ktrdr_otel("operations", command, "no\x1b[2Jsuch", database=database)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no operation no\\x1b[2Jsuch")
    assert done.stderr.count("\n") == 1


def test_what_has_ended_cannot_be_cancelled(database: Path) -> None:
    """The user is told how it ended instead."""
    done = ktrdr_otel("operations", "cancel", "well", database=database)

    assert (done.returncode, done.stderr) == (2, "error: operation well is completed already\n")


def test_a_running_operation_is_listed_and_cancelled_from_another_process(tmp_path: Path) -> None:
    """It shows as running while it runs, hears the request at its next checkpoint, and says the reason."""
    database = tmp_path / "operations.db"
    program = (
        "import itertools, time\n"
        "from ktrdr_otel import checkpoint, observe\n"
        "with observe('long', operation_id='long', display='off'):\n"
        "    print('running', flush=True)\n"
        "    for index in itertools.count(1):\n"
        "        with checkpoint('load', item='x', index=index, total=10_000):\n"
        "            time.sleep(0.01)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"KTRDR_OTEL_DATABASE": str(database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            running = ktrdr_otel("operations", "show", "long", database=database).stdout
            asked = ktrdr_otel(
                "operations", "cancel", "long", "--reason", "enough", "--json", database=database
            )
            _, said = process.communicate(timeout=30)
        finally:
            process.send_signal(signal.SIGKILL)

    assert "ktrdr-otel operations cancel long" in running
    assert json.loads(asked.stdout) == {"operation_id": "long", "cancel_requested": True, "reason": "enough"}
    assert "CancellationError: enough" in said
    ended = answer(ktrdr_otel("operations", "show", "long", "--json", database=database))
    assert (ended["status"], ended["cancel_reason"]) == ("cancelled", "enough")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nonsense://x", "error: the database URL: "),
        ("/proc/none/operations.db", "error: /proc/none/operations.db: "),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(given: str, said: str) -> None:
    """What is wrong and with which store, exit code 2."""
    done = ktrdr_otel("operations", "list", "--database", given)

    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_probe_that_cannot_look_reports_no_death(database: Path, tmp_path: Path) -> None:
    """`check` ends with 2 for the failed alone; with 3 where nobody can say, a typo too; one line."""
    assert ktrdr_otel("operations", "check", "well", database=database).returncode == 0
    assert ktrdr_otel("operations", "check", "stopped", database=database).returncode == 0
    assert ktrdr_otel("operations", "check", "broken", database=database).returncode == 2
    (tmp_path / "file").write_text("")
    for arguments in (
        ["wel"],
        ["well", "--database", str(tmp_path / "file" / "operations.db")],
        ["well", "--url", "http://127.0.0.1:9"],
        ["well", "--url", "127.0.0.1"],
        ["well", "--databse", "x"],
        [],
    ):
        done = ktrdr_otel("operations", "check", *arguments, database=database)
        assert (done.returncode, done.stdout) == (3, ""), arguments
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert ktrdr_otel("operations", "show", "well", "--databse", "x", database=database).returncode == 2
