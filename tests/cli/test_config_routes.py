"""Several routes in one file: each has its own table, every topic exactly one route."""

from __future__ import annotations

from typing import Any

import pytest

from landfast.config import from_mapping
from landfast.errors import Misconfigured


def routed(*routes: dict[str, Any], **top: Any) -> dict[str, Any]:
    return {"name": "all", "source": {"servers": "h:1"}, **top, "routes": list(routes)}


A = {"name": "a", "topics": ["ta"], "sink": {"path": "lake/a"}}
B = {"name": "b", "topics": ["tb"], "sink": {"path": "lake/b"}}


def test_a_route_inherits_what_it_leaves_out() -> None:
    """A route takes the keys that it does not name from the sections of the same names at the top."""
    body = routed(
        {**A, "batch": {"rows": 7}, "decode": {"columns": {"x": "int64"}}},
        B,
        batch={"rows": 5, "seconds": 2},
        decode={"unknown_fields": "dead", "columns": {"y": "string"}},
        sink={"storage_options": {"k": "v"}},
    )
    first, second = from_mapping(body).routes
    assert (first.batch.rows, first.batch.seconds, second.batch.rows) == (7, 2.0, 5)
    assert (first.decode.columns, first.decode.unknown_fields) == ({"x": "int64"}, "dead")
    assert second.decode.columns == {"y": "string"}
    assert dict(first.sink.storage_options) == {"k": "v"}


def test_without_topics_the_source_reads_what_the_routes_name() -> None:
    """The source's topics need not be written twice."""
    assert from_mapping(routed(A, B)).source.topics == ("ta", "tb")


def test_a_pattern_is_shared_out_by_the_routes() -> None:
    """A route takes topics by name or by pattern."""
    body = routed({**A, "topics": [], "topic_pattern": "^a\\."}, B, source={"servers": "h:1", "topic_pattern": "^(a|tb)"})
    first, second = from_mapping(body).routes
    assert (first.takes("a.x"), first.takes("tb"), second.takes("tb")) == (True, False, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (routed(A, B, source={"servers": "h:1", "topics": ["ta", "tb", "tc"]}), "source.topics: no route takes the topic tc"),
        (routed(A, {**B, "topics": ["ta", "tb"]}), "the topic ta is taken by the routes a and b"),
        (routed(A, B, source={"servers": "h:1", "topics": ["ta"]}), "the topic tb of a route is not in source.topics"),
        (routed({**A, "topics": [], "topic_pattern": "^a"}), "source.topic_pattern: is missing: a route takes topics by a pattern"),
        (routed(A, B, source={"servers": "h:1", "topic_pattern": "^ta"}), "the topic tb of a route does not match source.topic_pattern"),
        (routed(A, B, source={"servers": "h:1", "topic_pattern": "^("}), "source.topic_pattern: is not a regular expression"),
        (routed(A, {**B, "sink": {"path": "./lake/../lake/a"}}), "the routes a and b share a table"),
        (routed(A, {**B, "sink": {"path": "lake/a__dead_letters"}}), "the routes a and b share a table"),
        (routed(A, {**B, "sink": {"path": "lake/a__spans"}}), "the routes a and b share a table"),
        (routed(A, {**B, "sink": {"path": "lake/a/b"}}), "the tables of the routes a and b lie one inside the other"),
        (routed(A, {**B, "sink": {"path": "lake/a__dead_letters/b"}}), "the tables of the routes a and b lie one inside the other"),
        (routed(A, {**B, "sink": {"path": "lake"}}), "the tables of the routes a and b lie one inside the other"),
        (routed(A, {**B, "sink": {"path": "lake/ab"}}), None),
        (routed(A, B, sink={"path": "lake/x"}), None),
        (routed({**A, "sink": {}}, {**B, "sink": {}}, sink={"path": "lake/x"}), "the routes a and b share a table"),
        (routed({**A, "sink": {"path": "/lake/a"}}, {**B, "sink": {"path": "file:///lake/a/"}}), "the routes a and b share a table"),
        (routed({**A, "sink": {"path": "s3://lake/a"}}, {**B, "sink": {"path": "S3a://lake/a"}}), "the routes a and b share a table"),
        (
            routed({**A, "sink": {"path": "/lake/a"}}, {**B, "sink": {"path": "file:///lake/a/b"}}),
            "the tables of the routes a and b lie one inside the other",
        ),
        (routed(A, {**B, "name": "a"}), "routes[1].name: a is the name of two routes"),
        (routed(A, {**B, "topics": []}), "routes[1].topics: is missing"),
        (routed(A, {**B, "topics": ["t b"]}), "routes[1].topics: 't b' is not a topic name"),
        (routed(A, {**B, "sink": {}}), "routes[1].sink.path: is missing"),
        (routed(A, {**B, "batch": {"rowz": 1}}), "routes[1].batch.rowz: unknown key; did you mean rows?"),
        (routed(A, B, batch={"rowz": 1}), ": batch.rowz: unknown key; did you mean rows?"),
        (routed(A, {**B, "topix": ["a"]}), "routes[1].topix: unknown key; did you mean topics?"),
        (routed(A, {**B, "batch": 3}), "routes[1].batch: must be a section"),
        ({**routed(A), "routes": [3]}, "routes[0]: must be a section"),
        ({**routed(A), "routes": 3}, "routes: must be a list"),
    ],
)
def test_routes_that_do_not_fit_together_are_refused(body: dict[str, Any], words: str | None) -> None:
    """A topic without a route, with two routes, or two routes with one table are refused, at the place where they are written."""
    if words is None:
        assert len(from_mapping(body).routes) == 2
        return
    with pytest.raises(Misconfigured) as caught:
        from_mapping(body)
    assert words in caught.value.message
