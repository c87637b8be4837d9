"""Text from outside, and lengths of time."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.display.base import printable, seconds_text


@given(st.text(st.characters()))
def test_printable_text_has_no_control_character_and_one_line(text: str) -> None:
    """Whatever a name holds, a terminal is told nothing by it."""
    shown = printable(text)

    assert not any(unicodedata.category(each)[0] == "C" for each in shown)
    assert len(shown.splitlines()) <= 1


@given(st.text(st.characters(whitelist_categories=("L", "N", "P", "S", "Zs"))))
def test_letters_of_any_script_are_shown_as_they_are(text: str) -> None:
    """Only what cannot be seen is replaced."""
    assert printable(text) == text


def test_lengths_of_time_never_read_as_a_full_next_unit() -> None:
    """A rounded figure goes over into the next unit instead of showing `1000 ms` or `60.0 s`."""
    assert [seconds_text(each) for each in (0.9994, 0.9996, 59.94, 59.96, 3599.4, 3599.6)] == [
        "999 ms",
        "1.0 s",
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
    ]
