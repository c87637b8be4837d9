"""What a person sees while an operation runs: on a terminal, in a pipe, in a notebook, as JSON lines."""

from ktrdr_otel.display.base import Display
from ktrdr_otel.display.choose import choose_display

__all__ = ["Display", "choose_display"]
