"""With `evolve`, a column that the settings do not name came from a guess, and no record is refused for not fitting a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest

from landfast.decode.json import SINGLY_RECORDS_MAX, JsonDecoder
from landfast.decode.schema import parse_columns
from tests.decode.decode_cases import chunk_of, verdicts

COLUMNS = {"id": "int64 not null", "named": "int64", "whole": "int64", "ratio": "float64", "deep": "struct<x: int64>"}


def decoded(values: list[bytes], unknown_fields: Any = "evolve") -> list[Any]:
    decoder = JsonDecoder(parse_columns(COLUMNS), unknown_fields=unknown_fields, wanted=("id", "named"))
    return verdicts(decoder.decode(chunk_of(values)))


@pytest.mark.parametrize("neighbours", [0, 2 * SINGLY_RECORDS_MAX])
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("whole", "230.5"),
        ("whole", '"a word"'),
        ("whole", "9223372036854775808"),
        ("ratio", "9007199254740993"),
        ("ratio", "1e999"),
        ("deep", '{"x":"no","y":1}'),
        ("deep", "[1]"),
    ],
)
def test_what_does_not_fit_a_guess_is_kept_as_it_was_written(name: str, written: str, neighbours: int) -> None:
    """The column is null, the value stands in `_rescued`, and the rest of the record lands: alone and among others."""
    good = b'{"id":1,"whole":1,"ratio":0.5}'
    found = decoded([f'{{"id":7,"{name}":{written},"other":true}}'.encode(), *[good] * neighbours])
    assert found[0]["id"] == 7
    assert found[0][name] is None
    assert found[0]["_rescued"] == f'{{"{name}":{written},"other":true}}'
    assert all(row["whole"] == 1 and "_rescued" not in row for row in found[1:])


def test_what_fits_a_guess_lands_in_its_column() -> None:
    """Unknown fields inside a guessed object are rescued by their path, as everywhere."""
    (row,) = decoded([b'{"id":1,"whole":2,"deep":{"x":3,"y":4}}'])
    assert (row["whole"], row["deep"], json.loads(row["_rescued"])) == (2, {"x": 3}, {"deep.y": 4})


@pytest.mark.parametrize(("name", "unknown_fields"), [("named", "evolve"), ("id", "evolve"), ("whole", "rescue"), ("whole", "dead")])
def test_a_column_that_was_asked_for_refuses_what_does_not_fit(name: str, unknown_fields: str) -> None:
    """Only guesses are lenient: what the settings name, and every column without evolve, is strict."""
    document = {"id": 1, name: "a word"}
    assert decoded([json.dumps(document).encode()], unknown_fields) == ["wrong_type"]
