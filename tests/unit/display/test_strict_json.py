"""JSON that every reader takes."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.display.strict_json import strict_json

_FORMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_FORMS)
def test_what_is_written_is_read_back(form: object) -> None:
    """Escaping changes the text, never the value."""
    assert json.loads(strict_json(form)) == form
    assert json.loads(strict_json(form, encoding="utf-8")) == form


@given(st.text(st.characters()))
def test_no_character_commands_a_terminal(text: str) -> None:
    """Also C1 controls and line separators are codes, which `json.dumps` leaves as they are."""
    assert strict_json(text, encoding="utf-8").isprintable()
    assert strict_json(text).isascii()


def test_a_diverged_loss_is_null() -> None:
    """JSON has no NaN and no infinity."""
    assert json.loads(strict_json({"loss": [math.nan, math.inf, 0.5]})) == {"loss": [None, None, 0.5]}


def test_letters_stay_letters_where_the_terminal_has_them() -> None:
    """A person reads the message as it is."""
    assert strict_json("Epoch 5/100 · Batch", encoding="utf-8") == '"Epoch 5/100 · Batch"'
    assert strict_json("5 · 6", encoding="ascii") == '"5 \\u00b7 6"'
