"""`pip install .` alone is light, and observes a loop."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "pandas", "numpy", "ta-lib", "fastapi", "pyarrow")

PROGRAM = """
import logging
from ktrdr_otel import observe, track
logging.basicConfig(level=logging.INFO, format="%(message)s")
with observe("loop", operation_id="loop"):
    for turn in track(range(3), "turn"):
        pass
"""


def test_the_core_alone_observes_a_loop(tmp_path: Path) -> None:
    """In an environment that has nothing but the core's own dependencies."""
    uv = Path(sys.executable).parent / "uv"
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [
        uv,
        "--system-certs",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--constraint",
        "constraints.txt",
        ".",
    ]
    subprocess.run([str(each) for each in install], cwd=ROOT, check=True, timeout=100)
    listed = subprocess.run(
        [str(uv), "pip", "list", "--python", str(python)], capture_output=True, text=True, check=True
    ).stdout.lower()
    assert [name for name in HEAVY if f"\n{name} " in listed] == []
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [str(python), "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path, env=variables
    )
    assert done.returncode == 0, done.stderr
    assert "operation loop completed" in done.stderr
    assert done.stdout == ""
    assert (tmp_path / "state" / "ktrdr-otel" / "operations.db").is_file()
    trained = subprocess.run(
        [str(environment / "bin" / "ktrdr-otel"), "train", "x.yaml", "--data", "."],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=variables,
    )
    assert trained.returncode == 2
    assert "pip install 'ktrdr-otel[pipeline]'" in trained.stderr
