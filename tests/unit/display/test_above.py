"""What the program prints while a picture is drawn."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ktrdr_otel.display.above import Above


def an_above() -> tuple[Above, io.StringIO]:
    """A stand-in for a stream, on a console of 20 columns that writes to it."""
    stream = io.StringIO()
    return Above(Console(file=stream, width=20, force_terminal=False), stream), stream


@given(st.lists(st.text("ab[]/:\n", max_size=30), max_size=20))
def test_what_is_printed_arrives_whole_and_in_order(pieces: list[str]) -> None:
    """Neither markup, nor emoji codes, nor the console's width change a program's text."""
    above, stream = an_above()
    for piece in pieces:
        assert above.write(piece) == len(piece)
        above.flush()
    above.finish()
    said = "".join(pieces)

    assert stream.getvalue() == said + ("\n" if said and not said.endswith("\n") else "")


def test_an_unfinished_line_waits_for_its_end() -> None:
    """Dots that are printed and flushed one by one are one line, not one line each."""
    above, stream = an_above()
    for _ in range(3):
        print(".", end="", file=above, flush=True)
    assert stream.getvalue() == ""
    print(file=above)

    assert stream.getvalue() == "...\n"


def test_a_line_rewritten_in_place_is_shown_as_it_was_last() -> None:
    """A bar of tqdm is one line when it is full, not a hundred."""
    above, stream = an_above()
    for percent in range(0, 101, 10):
        above.write(f"\r{percent}%|####")
        above.flush()
    above.write("\n")

    assert stream.getvalue() == "100%|####\n"


def test_a_line_without_end_is_not_held_for_ever() -> None:
    """Memory is bounded, and nothing is lost."""
    above, stream = an_above()
    for _ in range(100):
        above.write("x" * 1000)
    above.finish()

    assert stream.getvalue().replace("\n", "") == "x" * 100_000


def test_after_the_end_it_is_the_stream_itself() -> None:
    """Whoever kept it, a handler made during the run, goes on writing."""
    above, stream = an_above()
    above.finish()
    above.write("[red]later\r")

    assert stream.getvalue() == "[red]later\r"
