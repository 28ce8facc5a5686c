"""Every setting is documented, has a default or is required, and is bounded."""

from __future__ import annotations

import pytest
from pydantic.fields import FieldInfo

from landfast.config import RouteSettings, reference
from landfast.config.faults import dotted, sections
from landfast.config.reference import bounds_of, default_of, type_of

FIELDS = {
    dotted((*place, name)): (name, field)
    for place, model in [*sections(), (("routes",), RouteSettings)]
    for name, field in model.model_fields.items()
    if not hasattr(field.annotation, "model_fields")
}


@pytest.mark.parametrize(("name", "field"), FIELDS.values(), ids=FIELDS.keys())
def test_every_setting_says_what_it_is(name: str, field: FieldInfo) -> None:
    """A setting has a description in a whole sentence, a type, a default, and bounds on what it takes."""
    assert field.description
    assert field.description.endswith((".", "`."))
    assert type_of(field)
    assert default_of(name, field)
    assert bounds_of(name, field)


@pytest.mark.parametrize(("name", "field"), FIELDS.values(), ids=FIELDS.keys())
def test_every_number_has_both_bounds_and_a_unit_in_its_name(name: str, field: FieldInfo) -> None:
    """A number has a least and a greatest value, and its name says what it counts."""
    if type_of(field) not in {"number", "whole number"}:
        return
    assert "from " in bounds_of(name, field)
    assert "to " in bounds_of(name, field)
    units = {
        "bytes",
        "seconds",
        "rows",
        "records",
        "files",
        "columns",
        "commits",
        "attempts",
        "threads",
        "share",
        "row",
        "max",
        "level",
        "version",
        "port",
    }
    assert units & set(name.split("_"))


def test_the_reference_names_every_setting_in_its_section() -> None:
    """The generated page has a heading for each section and a line for each setting."""
    page = reference()
    for place, model in sections():
        assert not place or f"## [{dotted(place)}]" in page
        for name, field in model.model_fields.items():
            assert hasattr(field.annotation, "model_fields") or name == "routes" or f"| `{name}` |" in page
    assert '`"128 MiB"`' in page
    assert "from 1 MiB to 1024 GiB" in page


def test_the_sections_of_classes_of_errors_say_which_class_they_are_for() -> None:
    """They have the same keys, so their first words tell them apart."""
    page = reference()
    assert "## [retry.auth]\n\nA credential or a right is missing. How long" in page
    assert "## [retry.schema]\n\nColumns or types that do not fit. How long" in page
