"""A name says what a thing is. These words say only that somebody ran out of names."""

from __future__ import annotations

import re

from tests.house.tree import PYTHON_FOLDERS, classes, parsed, python_files, relative

FORBIDDEN = {"common", "handler", "handlers", "helper", "helpers", "manager", "managers", "misc", "util", "utils", "wrapper", "wrappers"}


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_no_file_and_no_folder_has_an_empty_name() -> None:
    """Nothing is kept in a file of helpers: what belongs nowhere has not been understood."""
    assert not [relative(path) for path in python_files(*PYTHON_FOLDERS) if FORBIDDEN & _words(relative(path))]


def test_no_class_has_an_empty_name() -> None:
    """A class that manages, handles or wraps has a better name in the field it works in."""
    names = [(relative(path), node.name) for path in python_files(*PYTHON_FOLDERS) for node in classes(parsed(path))]
    assert not [f"{path}:{name}" for path, name in names if FORBIDDEN & _words(name)]


def test_the_words_of_a_name_are_found() -> None:
    """The check itself sees words in both spellings."""
    assert _words("OffsetManager") == {"offset", "manager"}
    assert _words("JSONHelper_utils") == {"json", "helper", "utils"}
