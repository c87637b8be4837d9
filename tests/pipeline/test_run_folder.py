"""Where a run keeps its model: inside the output folder, and never in the place of anything else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.orchestration.run_folder import folder_name, run_folder

ids = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=200)


@given(first=ids, second=ids)
def test_each_id_has_a_folder_of_its_own(first: str, second: str) -> None:
    """One plain file name, whatever the id is made of."""
    name = folder_name(first)
    assert Path("output") / name == (Path("output") / name).resolve().relative_to(Path.cwd())
    assert name.isascii()
    assert len(name) <= 200
    assert not name.startswith(".")
    assert (name == folder_name(second)) is (first == second)


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [
        ("training-184bc1283bab", "training-184bc1283bab"),
        ("v1.2_b~3", "v1.2_b~3"),
        ("../../esc", "%2E.%2F..%2Fesc"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("nightly 1", "nightly%201"),
        ("nightly%201", "nightly%25201"),
    ],
)
def test_only_what_is_no_plain_name_is_encoded(operation_id: str, name: str) -> None:
    """A person finds the folder of an ordinary id."""
    assert folder_name(operation_id) == name


def test_long_ids_that_begin_alike_have_different_folders() -> None:
    """Encoded they are longer than a file name can be."""
    names = {folder_name("é" * 199 + last) for last in "ab"}
    assert len(names) == 2
    assert all(len(name) <= 200 for name in names)


def test_an_output_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Folders above it that were made for it are gone again."""
    long = "n" * 300
    with pytest.raises(
        InputError, match="cannot be written to: File name too long; give a folder by --output"
    ):
        run_folder(tmp_path / "new" / long, "run")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_snapshot_is_not_replaced(tmp_path: Path) -> None:
    """An id may be the name of the folder of bars, or of the store."""
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "AAPL_1d.csv").touch()
    (tmp_path / "operations.db").touch()
    for operation_id in ("bars", "operations.db"):
        with pytest.raises(InputError, match="is there already and is no model snapshot"):
            run_folder(tmp_path, operation_id)


def test_a_snapshot_may_be_replaced(tmp_path: Path) -> None:
    """The same id in another store."""
    folder = tmp_path / "again"
    folder.mkdir()
    for name in ("model.safetensors", "snapshot.json"):
        (folder / name).touch()
    assert run_folder(tmp_path, "again") == folder
