"""A code that an operator meets can always be explained, and every explanation belongs to a code that can be met."""

from __future__ import annotations

import ast
import re

from landfast.codes import CODES
from tests.house.tree import dotted, parsed, python_files, relative

# What takes a code, and where: as the first argument, or by this keyword.
TAKE_CODE_FIRST = {"Misconfigured", "Conflict", "Rejected", "Unavailable", "Halted", "Broken", "Halt"}
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def _used() -> set[str]:
    """Every known code that stands as a text in the source, the explanations themselves left out."""
    paths = [path for path in python_files("src") if "/codes/" not in relative(path)]
    constants = (node.value for path in paths for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value in CODES}


def _raised() -> dict[str, str]:
    """Every code that is handed to an error, a halt, a check or a notice as plain text. Nobody meets those of scripted faults."""
    found: dict[str, str] = {}
    for path in (path for path in python_files("src") if "/testing/" not in relative(path)):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call):
                name = dotted(node.func).rsplit(".", maxsplit=1)[-1]
                given = node.args[:1] if name in TAKE_CODE_FIRST else []
                given += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                for value in given:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        found[value.value] = f"{relative(path)}:{node.lineno}"
    return found


def test_every_code_that_is_raised_is_explained() -> None:
    """`landfast explain` has an answer for whatever a message shows."""
    assert not {code: place for code, place in _raised().items() if code not in CODES}


def test_every_explained_code_is_used() -> None:
    """An explanation nobody can meet misleads the reader of the reference."""
    unused = sorted(set(CODES) - _used())
    assert not unused


def test_every_explanation_is_whole() -> None:
    """Meaning, what is safe, and the next step: three sentences, each ending as one."""
    for name, code in CODES.items():
        assert CODE.fullmatch(name), name
        for text in (code.meaning, code.safe, code.next_step):
            assert text.strip() == text, name
            assert text.endswith("."), f"{name}: {text!r}"


def test_codes_are_sorted() -> None:
    """The reference and `explain` list them in one order."""
    assert list(CODES) == sorted(CODES)
