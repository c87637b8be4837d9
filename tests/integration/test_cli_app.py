"""The command line itself: help, versions, mistakes, and commands of other packages."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ktrdr_otel.__main__ import main
from tests.integration.command_line import ktrdr_otel


def test_help_lists_the_commands() -> None:
    """Without arguments and with `--help`, the program says what there is and ends well."""
    bare, asked = ktrdr_otel(), ktrdr_otel("--help")

    assert (bare.returncode, asked.returncode) == (0, 0)
    assert bare.stdout == asked.stdout
    assert {"doctor", "operations"} <= {line.split()[0] for line in asked.stdout.splitlines() if line.strip()}
    for group in ([], ["operations"], ["trace"], ["data"], ["dashboards"]):
        _, commands = ktrdr_otel(*group, "--help").stdout.split("Commands:\n")
        assert "..." not in commands, "what each does is said to the end"


def test_a_group_without_a_command_is_its_help() -> None:
    """`ktrdr-otel operations` lists what can be done with them."""
    done = ktrdr_otel("operations")

    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in ("list", "show", "checkpoints", "cancel"))


def test_version_is_the_installed_one() -> None:
    """`--version` and the package agree."""
    assert ktrdr_otel("--version").stdout == f"ktrdr-otel {version('ktrdr-otel')}\n"


def test_the_command_line_is_there_without_loading_what_a_command_needs() -> None:
    """`--help` answers at once: neither database, settings, drawing nor the SDK is imported for it."""
    program = (
        "import sys\n"
        "from ktrdr_otel.cli.app import build_app\n"
        "build_app()\n"
        "heavy = {'sqlalchemy', 'pydantic', 'rich', 'opentelemetry.sdk', 'numpy', 'pandas', 'torch'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'; see `ktrdr-otel --help`"),
        (["operations", "nonsense"], "No such command 'nonsense'; see `ktrdr-otel operations --help`"),
        (["operations", "show"], "Missing argument 'ID'; see `ktrdr-otel operations show --help`"),
        (["operations", "list", "--nonsense"], "No such option: --nonsense"),
        (["operations", "list", "--limit", "many"], "Invalid value for '--limit'"),
        (["operations", "list", "--status", "late"], "Invalid value for '--status'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says what is wrong and where the help is."""
    monkeypatch.setattr(sys, "argv", ["ktrdr-otel", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()

    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith(f"error: {said}")
    assert printed.err.count("\n") == 1


def test_a_wrong_setting_is_one_line() -> None:
    """The variable is named, with what is wrong with it."""
    done = ktrdr_otel("operations", "list", environment={"KTRDR_OTEL_LEASE_SECONDS": "-1"})

    assert done.returncode == 2
    assert done.stderr.startswith("error: KTRDR_OTEL_LEASE_SECONDS: ")
    assert done.stderr.count("\n") == 1


def test_a_command_whose_extra_is_missing_says_which_one_that_is(tmp_path: Path) -> None:
    """Without the packages of the extra all else works, and `train` says what to install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "sys.modules['talib'] = sys.modules['torch'] = sys.modules['pandas'] = None\n"
        "found = importlib.util.find_spec\n"
        "def find_spec(name, package=None):\n"
        "    return None if name in ('talib', 'torch', 'pandas') else found(name, package)\n"
        "importlib.util.find_spec = find_spec\n"
    )
    without = {"PYTHONPATH": str(tmp_path)}
    done = ktrdr_otel("train", "strategy.yaml", environment=without)

    assert done.returncode == 2
    assert done.stderr.startswith("error: `train` needs an extra that is not installed")
    assert done.stderr.endswith("pip install 'ktrdr-otel[pipeline]'\n")
    assert done.stderr.count("\n") == 1
    assert ktrdr_otel("--help", environment=without).returncode == 0


def test_a_package_whose_commands_fail_costs_only_those(tmp_path: Path) -> None:
    """A broken plugin is named when a command is missing; our own commands work."""
    plugin = tmp_path / "broken_plugin-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[ktrdr_otel.commands]\nbroken = broken_plugin:register\n")
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('cannot start')\n")
    with_plugin = {"PYTHONPATH": str(tmp_path)}
    done = ktrdr_otel("theirs", environment=with_plugin)

    assert done.returncode == 2
    assert done.stderr == "error: no command `theirs`, but some could not be loaded: broken: cannot start\n"
    assert ktrdr_otel("--version", environment=with_plugin).returncode == 0


def test_a_command_of_another_package_is_a_command(tmp_path: Path) -> None:
    """An entry point in `ktrdr_otel.commands` is all that it takes."""
    plugin = tmp_path / "good_plugin-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: good-plugin\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[ktrdr_otel.commands]\ngood = good_plugin:register\n")
    (tmp_path / "good_plugin.py").write_text(
        "def register(app):\n    @app.command()\n    def theirs():\n        print('theirs ran')\n"
    )

    assert ktrdr_otel("theirs", environment={"PYTHONPATH": str(tmp_path)}).stdout == "theirs ran\n"
