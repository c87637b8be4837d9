"""The bytes of a strategy file as a mapping; nothing about strategies is known here."""

import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML without objects, and without silence where a key comes twice: the second would replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                problem = f"{key.value!r} comes twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    """What the YAML file holds; raises `InputError` if it is missing, not text, not YAML or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("there is no such file", source=path, hint=_near_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "not text"
        raise InputError(f"cannot be read: {what}", source=path) from error
    try:
        # SafeLoader's subclass builds numbers, texts, dates, lists and mappings only.
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - the rule knows SafeLoader by its name alone
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    except ValueError as error:  # a date such as 2024-13-45, a number of thousands of digits
        raise InputError(f"not YAML: {error}", source=path) from error
    except RecursionError:
        raise InputError("not a strategy: nested too deeply", source=path) from None
    if not isinstance(raw, dict):
        raise InputError("not a strategy: the file holds no mapping", source=path)
    return raw


def _not_yaml(path: Path, error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    where = None if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    return InputError(f"not YAML: {problem}", source=path, where=where)


def _near_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    near = difflib.get_close_matches(path.name, [each.name for each in path.parent.iterdir()], n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None
