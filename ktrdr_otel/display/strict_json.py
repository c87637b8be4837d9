"""JSON that every reader takes, and no terminal obeys."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_OUTSIDE_ASCII = re.compile(r"[^\x20-\x7e\n]")


def strict_json(form: Any, *, indent: int | None = None, encoding: str = "ascii") -> str:
    """The form as JSON text in which no character is a control character.

    JSON has no NaN and no infinity, which a diverging loss has: they are `null`. Letters outside of ASCII
    stay themselves where `encoding` has them and they can be printed.

    >>> strict_json({"loss": float("nan"), "symbol": "A\\x1b[2J"})
    '{"loss": null, "symbol": "A\\\\u001b[2J"}'
    """
    text = json.dumps(_finite(form), indent=indent, ensure_ascii=False, default=str, allow_nan=False)
    return _OUTSIDE_ASCII.sub(lambda found: _shown(found[0], encoding), text)


def _shown(character: str, encoding: str) -> str:
    if character.isprintable():
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            pass
        else:
            return character
    return json.dumps(character)[1:-1]


def _finite(form: Any) -> Any:
    if isinstance(form, float) and not math.isfinite(form):
        return None
    if isinstance(form, Mapping):
        return {str(key): _finite(value) for key, value in form.items()}
    if isinstance(form, (list, tuple)):
        return [_finite(each) for each in form]
    return form
