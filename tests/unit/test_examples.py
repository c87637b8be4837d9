"""Every example in a docstring or in the README runs and says what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import ktrdr_otel
import pipeline

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for package in (ktrdr_otel, pipeline)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__") and ".migrations" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a store of their own."""
    monkeypatch.setenv("KTRDR_OTEL_DATABASE", str(tmp_path / "operations.db"))
    result = doctest.testmod(importlib.import_module(name), extraglobs=vars(ktrdr_otel))
    assert result.failed == 0


@pytest.mark.parametrize("text", ["README.md", "docs/traces.md"])
def test_python_examples_of_a_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is a program."""
    monkeypatch.setenv("KTRDR_OTEL_DATABASE", str(tmp_path / "operations.db"))
    monkeypatch.setenv("KTRDR_OTEL_DISPLAY", "off")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / text).read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, text, "exec"), {})
