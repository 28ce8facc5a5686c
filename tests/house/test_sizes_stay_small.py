"""A reader holds a file and a function in the head at once. Each line is a ratchet: nothing may cross it upward."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from landfast import ports
from tests.house.tree import SOURCE, Function, classes, named_functions, parsed, python_files, relative

FILE_LINES_LIMIT = 400
FILE_LINES_MAX = 600
FUNCTION_LINES_LIMIT = 60
ARGUMENTS_LIMIT = 8
PUBLIC_METHODS_LIMIT = 12
PORT_METHODS_LIMIT = 5

# What stands above a line today, with its size. A number here may only fall, and an entry goes when its line is kept.
FILES_ABOVE: dict[str, int] = {}
FUNCTIONS_ABOVE: dict[str, int] = {}
ARGUMENTS_ABOVE: dict[str, int] = {}
CLASSES_ABOVE: dict[str, int] = {}


def test_source_files_stay_under_four_hundred_lines() -> None:
    """A file is one thing: at 400 lines it is time to find the second one in it."""
    _keep({relative(path): _lines(path.read_text()) for path in python_files("src", "benchmarks", "docs")}, FILE_LINES_LIMIT, FILES_ABOVE)


def test_no_file_reaches_six_hundred_lines() -> None:
    """Six hundred lines fail whatever the reason, in tests too."""
    sizes = {relative(path): _lines(path.read_text()) for path in python_files("src", "tests", "benchmarks", "docs", "examples")}
    assert not {name: size for name, size in sizes.items() if size > FILE_LINES_MAX}


def test_functions_stay_under_sixty_lines() -> None:
    """A function fits on a screen, its docstring not counted."""
    _keep(_per_function(_length, "src", "tests", "benchmarks", "docs", "examples"), FUNCTION_LINES_LIMIT, FUNCTIONS_ABOVE)


def test_functions_take_at_most_eight_arguments() -> None:
    """Nine arguments are a value that nobody has named yet."""
    _keep(_per_function(_arguments, "src", "benchmarks", "docs"), ARGUMENTS_LIMIT, ARGUMENTS_ABOVE)


def test_classes_have_at_most_twelve_public_methods() -> None:
    """A class with more has more than one reason to be."""
    sizes = {f"{relative(path)}:{node.name}": _public_methods(node) for path in python_files("src") for node in classes(parsed(path))}
    _keep(sizes, PUBLIC_METHODS_LIMIT, CLASSES_ABOVE)


def test_ports_have_at_most_five_methods() -> None:
    """The sixth method of a port needs a written decision: the one of Sink is docs/decisions/take-over.md."""
    protocols = {node.name: _public_methods(node) for node in classes(parsed(SOURCE / "ports.py"))}
    assert protocols.keys() >= {"Source", "Sink", "DeadLetters", "Decoder"}
    assert all(hasattr(ports, name) for name in protocols)
    decided = {"Sink": 6}
    assert not {name: count for name, count in protocols.items() if count > decided.get(name, PORT_METHODS_LIMIT)}


def _keep(sizes: dict[str, int], limit: int, above: dict[str, int]) -> None:
    crossed = {name: size for name, size in sizes.items() if size > above.get(name, limit)}
    assert not crossed, f"over the line of {limit}"
    stale = {name: size for name, size in above.items() if sizes.get(name, 0) < size}
    assert not stale, "smaller than the ratchet says: lower the number, or remove the entry"


def _lines(text: str) -> int:
    return text.count("\n")


def _per_function(measure: Callable[[Function], int], *folders: str) -> dict[str, int]:
    def measured() -> Iterator[tuple[str, int]]:
        for path in python_files(*folders):
            for name, function in named_functions(parsed(path)):
                yield f"{relative(path)}:{name}", measure(function)

    return dict(measured())


def _length(function: Function) -> int:
    documented = ast.get_docstring(function, clean=False) is not None
    first = function.body[1].lineno if documented and len(function.body) > 1 else function.lineno
    docstring_lines = first - function.body[0].lineno if documented else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring_lines


def _arguments(function: Function) -> int:
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    # The options of a command are its arguments on the command line, and typer has no other place for them.
    if any(isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "command" for node in function.decorator_list):
        return 0
    return len([name for name in names if name not in {"self", "cls"}])


def _public_methods(node: ast.ClassDef) -> int:
    methods = (child for child in node.body if isinstance(child, Function) and not child.name.startswith("_"))
    return sum(not any(isinstance(mark, ast.Name) and mark.id == "property" for mark in method.decorator_list) for method in methods)
