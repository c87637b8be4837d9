"""The front door costs nothing until it is used, and its names are those that are promised."""

import json
import subprocess
import sys

import ktrdr_otel

HEAVY = (
    "opentelemetry.sdk",
    "sqlalchemy",
    "alembic",
    "rich",
    "pydantic",
    "torch",
    "pandas",
    "grpc",
    "requests",
)


def test_importing_it_loads_neither_the_sdk_nor_sql() -> None:
    """Checked in an interpreter of its own."""
    program = "import json, sys, ktrdr_otel; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert [name for name in loaded if name.startswith(HEAVY)] == []


def test_its_names_are_sorted_and_there() -> None:
    """`__all__` is the public face."""
    assert list(ktrdr_otel.__all__) == sorted(ktrdr_otel.__all__)
    for name in ktrdr_otel.__all__:
        assert hasattr(ktrdr_otel, name)
