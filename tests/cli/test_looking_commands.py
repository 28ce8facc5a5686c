"""verify, status, runs and dead-letters tell the truth about a real table, change nothing, and show no secret."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from landfast.cli.dead_letters import shown
from landfast.cli.status import RouteStatus, StreamStatus, next_steps, stream_status
from landfast.errors import Misconfigured
from landfast.model import Bounds, Halt, Stream
from landfast.sinks.delta.proof.inspection import inspect, replaced_of
from tests.cli.table import PASSWORD, Table, ask, settings_file, table_at
from tests.sinks.delta_proof import LANE, bury, edit_record, files_with, letter
from tests.sinks.delta_world import world_at

LOOKS = (("verify",), ("status",), ("runs",), ("dead-letters", "list"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table that is as it should be."""
    return table_at(tmp_path)


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below a folder with its content's digest."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_look_changes_nothing_and_shows_no_secret(table: Table, look: tuple[str, ...], more: tuple[str, ...]) -> None:
    """The folder is byte for byte as before; the password of the settings is in no output; JSON is one object per route."""
    before = fingerprint(table.file.parent)
    said = table.ask(*look, table.file, *more)
    assert said.code == 0
    assert fingerprint(table.file.parent) == before
    assert PASSWORD not in said.out + said.err
    assert not more or isinstance(said.data, dict)


def test_verify_proves_a_sound_table_and_prints_its_equation(table: Table) -> None:
    """Exit 0, the equation of each stream and of all, and one line that says that it is proved."""
    said = table.ask("verify", table.file)
    assert said.code == 0
    assert "events[0]  [0, 40)" in said.out
    assert "read 183 = written 179 + dead 2 + skipped 2 (tombstone 2)" in said.out
    assert said.out.splitlines()[-1].startswith("PROVED")


def test_verify_of_a_table_without_a_commit_claims_no_proof(tmp_path: Path) -> None:
    """Where nothing has landed there is nothing to prove: it says so, in words and as JSON, and exits with 0."""
    world_at(tmp_path).sink().close()
    said = ask("verify", settings_file(tmp_path))
    assert (said.code, said.out.splitlines()[-1]) == (0, "NOTHING TO PROVE: nothing has landed yet (0 spans)")
    data = ask("verify", settings_file(tmp_path), "--json").data
    assert (data["outcome"], data["proved"], data["checked_spans"], data["compared"]) == ("nothing_to_prove", True, 0, None)


def test_s11_verify_names_the_exact_offsets_of_a_lost_file(table: Table) -> None:
    """A data file that is gone is a finding: exit 1, the stream and the exact offsets, in words and as JSON."""
    (lost,) = files_with(table.world, 10)
    (Path(table.world.path) / lost).unlink()
    said = table.ask("verify", table.file)
    assert said.code == 1
    assert "NOT PROVED" in said.out
    assert "file_missing" in said.out
    data = table.ask("verify", table.file, "--json").data
    assert (data["proved"], data["code"]) == (False, "VERIFY_FAILED")
    found = [one for one in data["findings"] if one["kind"] == "lost_row"]
    assert [(one["topic"], one["partition"]) for one in found] == [("events", 0)]
    offsets = {offset for one in found for start, end in one["ranges"] for offset in range(start, end)}
    # Offsets 12 and 13 were skipped, so they may or may not lie in the range that is named; the rows must.
    assert {10, 11, *range(14, 20)} <= offsets
    assert offsets <= set(range(10, 25))


def test_x13_verify_finds_an_edited_record(table: Table) -> None:
    """A commit's record that somebody edited is found."""
    edit_record(table.world, 3, '"sequence":', '"Sequence":')
    assert table.ask("verify", table.file).code == 1


def test_verify_with_the_source_says_that_it_does_not_answer(table: Table) -> None:
    """What cannot be compared is an error with its code, never a proof."""
    said = table.ask("verify", table.file, "--source")
    assert (said.code, said.out, said.err.split(":")[0]) == (3, "", "SOURCE_DOWN")


def test_status_without_the_source_still_shows_what_the_table_knows(table: Table) -> None:
    """Positions, the last commit and dead letters come from the table; lag is unknown, and the next step says what is wrong."""
    data = table.ask("status", table.file, "--json").data
    (route,) = data["routes"]
    assert data["source"]["code"] == "SOURCE_DOWN"
    assert [(one["partition"], one["position"], one["lag"], one["state"]) for one in route["streams"]] == [
        (0, 40, None, "source unknown"),
        (1, 300, None, "source unknown"),
    ]
    assert (route["commit"]["run"], route["dead_letters"], route["problems"]) == ("run-1", {"bad": 2}, [])
    assert data["next"][0].startswith("SOURCE_DOWN")
    assert any("dead-letters list" in step for step in data["next"])


def test_status_of_a_pipeline_that_never_ran(tmp_path: Path) -> None:
    """Before the first run there is no table, and that is no error."""
    said = ask("status", settings_file(tmp_path))
    assert said.code == 0
    assert "no table yet" in said.out


def test_status_asks_the_worker_where_the_settings_name_its_port(table: Table, worker_port: int) -> None:
    """A worker on this machine is asked for its health, so that a halted lane shows with its code and next step."""
    text = table.file.read_text().replace("[sink]", f"[metrics]\nport = {worker_port}\n[sink]")
    table.file.write_text(text)
    data = table.ask("status", table.file, "--json").data
    assert data["worker"]["status"] == "halted"
    assert any(step.startswith("DATA_EXPIRED") for step in data["next"])


@pytest.fixture
def worker_port() -> Iterator[int]:
    """Where something answers as a worker with a halted lane does."""

    class Worker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            concerns = [{"code": "DATA_EXPIRED", "flow": "numbers", "place": "events[0] offset 40", "next_step": "n"}]
            body = json.dumps({"status": "halted", "ready": False, "concerns": concerns}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the signature of http.server
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("position", "extent", "state", "lag"),
    [
        (None, Bounds(5, 25), "not started", 20),
        (None, Bounds(5, 5), "empty", 0),
        (10, Bounds(5, 25), "behind", 15),
        (25, Bounds(5, 25), "at the end", 0),
        (4, Bounds(5, 25), "DATA_EXPIRED", 20),
        (26, Bounds(5, 25), "LOG_TRUNCATED", 0),
        (10, None, "source unknown", None),
    ],
)
def test_the_state_of_a_stream_follows_from_position_and_bounds(
    position: int | None, extent: Bounds | None, state: str, lag: int | None
) -> None:
    """Expired and truncated ranges are seen without a run."""
    found = stream_status(LANE, position, extent)
    assert (found.state, found.lag) == (state, lag)


@pytest.mark.parametrize(("accepted", "state"), [((), "DATA_EXPIRED"), ((LANE,), "loss accepted")])
def test_a_loss_that_the_settings_accept_is_no_halt(accepted: tuple[Stream, ...], state: str) -> None:
    """If it is accepted, the stream can go on, and what is gone is named all the same; if not, the line to write is."""
    found = stream_status(LANE, 2, Bounds(5, 25), accepted=accepted)
    assert (found.state, found.lag) == (state, 20)
    assert f"offsets 2 to 4 of {LANE} are gone" in found.message
    assert (f'"{LANE}@{LANE.incarnation}" = 5' in found.next_step) == (state == "DATA_EXPIRED")


def test_the_next_step_is_the_most_urgent_one() -> None:
    """Problems first, then the source, then dead letters, then work to do; with nothing of it there is nothing to do."""
    behind = StreamStatus("events", "id", 0, 10, 0, 25, 15, "behind")
    expired = StreamStatus("events", "id", 1, 1, 5, 25, 20, "DATA_EXPIRED")
    full = RouteStatus("r", 3, (behind, expired), None, {"bad": 2}, ("SCHEMA_CONFLICT",))
    sound = RouteStatus("s", 3, (behind,), None, {}, ())
    steps = next_steps([full, sound], None, Misconfigured("TOPIC_MISSING", "m", next_step="create it"), "p.toml")
    starts = ["SCHEMA_CONFLICT", "DATA_EXPIRED", "TOPIC_MISSING: create it", "Look at the dead letters", "There is something to land"]
    assert [step[: len(start)] for step, start in zip(steps, starts, strict=True)] == starts
    assert next_steps([RouteStatus("r", 3, (), None, {}, ())], None, None, "p.toml") == ["Nothing: all that the log holds has landed."]


def test_a_topic_that_was_made_again_is_no_work_to_do() -> None:
    """A run would halt the stream, so the way out is to accept the new topic's id, and not to run."""
    halt = Halt("TOPIC_REPLACED", "m", "put its id xyz into accept_topic_ids")
    replaced = stream_status(LANE, None, Bounds(0, 25), halt)
    assert (replaced.state, replaced.lag) == ("TOPIC_REPLACED", 25)
    steps = next_steps([RouteStatus("r", 3, (replaced,), None, {}, ())], None, None, "p.toml")
    assert steps == ["TOPIC_REPLACED: put its id xyz into accept_topic_ids"]


def test_the_table_knows_that_a_topic_was_made_again(table: Table) -> None:
    """Its rows come from another topic of the same name; an id that the settings accept is none to halt."""
    settings = replace(table.world.settings, path=table.world.path)
    pipeline_id = next(iter(inspect(settings, "numbers").pipelines.values()))
    again = Stream(LANE.topic, "another-id", LANE.partition)
    fresh = Stream("others", "another-id", 0)
    found = replaced_of(settings, pipeline_id, [LANE, again, fresh])
    assert {stream: halt.code for stream, halt in found.items()} == {again: "TOPIC_REPLACED"}
    assert "another-id" in found[again].next_step
    assert not replaced_of(replace(settings, accept_topic_ids=frozenset({"another-id"})), pipeline_id, [again])


def test_status_does_not_say_that_all_is_well_after_a_halt() -> None:
    """What a run met among the records is in no table, so status says who knows; before the first run there is nothing to know."""
    waiting = StreamStatus("events", "id", 0, None, 0, 25, 25, "not started")
    (step,) = next_steps([RouteStatus("r", 3, (waiting,), None, {}, ())], None, None, "p.toml")
    assert step == "There is something to land: landfast run p.toml (where a run has left it so, the end of its output says why)"
    (step,) = next_steps([RouteStatus("r", None, (waiting,), None, {}, ())], None, None, "p.toml")
    assert step == "There is something to land: landfast run p.toml"


def test_a_run_that_could_not_start_is_not_proposed() -> None:
    """There is something to land, and the table would refuse: then the way out is that of the problem alone."""
    behind = StreamStatus("events", "id", 0, 10, 0, 25, 15, "behind")
    (step,) = next_steps([RouteStatus("r", None, (behind,), None, {}, ("TABLE_MISSING",))], None, None, "p.toml")
    assert step.startswith("TABLE_MISSING: ")


def test_verify_without_a_table_is_a_wrong_setting(tmp_path: Path) -> None:
    """There is nothing to prove yet: exit 2 like anything else that is not there, with the route and what to do."""
    said = ask("verify", settings_file(tmp_path))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("TABLE_MISSING: there is no table to prove\n")
    assert f"  where: route numbers → {tmp_path / 'table'}\n" in said.err
    assert "landfast run" in said.err


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    """Three routes: no table, a file in the way, and a table with a row too few; a look at each ends otherwise."""
    table = table_at(tmp_path)
    (lost,) = files_with(table.world, 10)
    (Path(table.world.path) / lost).unlink()
    (tmp_path / "file").write_text("a file")
    head = table.file.read_text().split("[sink]")[0].replace('topics = ["events"]', "")
    names = {"nothing": "nothing", "file": "file", "numbers": "table"}
    parts = [f'[[routes]]\nname = "{name}"\ntopics = ["{name}"]\nsink = {{ path = "{path}" }}\n' for name, path in names.items()]
    table.file.write_text(head + "".join(parts).replace('["numbers"]', '["events"]'))
    return table.file


def test_every_route_is_looked_at_whatever_became_of_the_others(routes: Path) -> None:
    """What keeps one route from being looked at names that route; the others follow, and the worst of all is the exit code."""
    proof = ask("verify", routes)
    assert proof.code == 2
    assert [line.split(":")[0] for line in proof.err.splitlines() if line[:1].isupper()] == ["TABLE_MISSING", "NOT_A_TABLE"]
    assert "numbers: " in proof.out
    assert "NOT PROVED" in proof.out
    runs = ask("runs", routes)
    assert (runs.code, "numbers: 1 run" in runs.out) == (2, True)
    letters = ask("dead-letters", "list", routes)
    assert (letters.code, letters.out.split(": ")[0], "numbers: 2 dead letters" in letters.out) == (2, "nothing", True)


def test_a_letter_is_found_behind_a_route_that_cannot_be_looked_at(routes: Path) -> None:
    """The id is looked for in every route; found, it is no matter that another could not be asked; not found, it is."""
    listed = [json.loads(line) for line in ask("dead-letters", "list", routes, "--json").out.splitlines()]
    shown = ask("dead-letters", "show", routes, listed[-1]["letters"][0]["id"])
    assert (shown.code, "reason: bad" in shown.out) == (0, True)
    assert ask("dead-letters", "show", routes, "no/such/0/1").code == 2


def test_status_says_of_which_table_nothing_is_known(tmp_path: Path) -> None:
    """Of a table in a store that is down the route says just that, with the code, and the exit code is that of the error."""
    file = settings_file(tmp_path)
    down = {"aws_endpoint_url": "http://127.0.0.1:1", "aws_allow_http": "true", "aws_region": "us-east-1", "max_retries": "0"}
    keys = {"aws_access_key_id": "someone", "aws_secret_access_key": "hidden"}
    options = ", ".join(f'{name} = "{value}"' for name, value in {**down, **keys}.items())
    file.write_text(file.read_text().replace('path = "table"', f'path = "s3://lake/t"\nstorage_options = {{ {options} }}'))
    said = ask("status", file)
    assert said.code == 3
    assert said.err.startswith("SINK_DOWN: ")
    assert "route numbers: its table could not be looked at: SINK_DOWN" in said.out
    assert "next: SINK_DOWN: " in said.out
    assert not ask("status", file, "--json").data["routes"][0]["looked"]


def test_check_tells_of_an_entry_that_a_power_cut_emptied(table: Table) -> None:
    """A run would fill it and read its records again: that is no finding, and is said all the same, with nothing filled by the look."""
    entry = max((Path(table.world.path) / "_delta_log").glob("*.json"))
    entry.write_bytes(b"")
    said = table.ask("check", table.file, "--json")
    (well,) = [one["words"] for one in json.loads(said.out)["well"] if one["subject"].startswith("route")]
    assert f"{entry.name} is empty or torn, as a power cut leaves it" in well
    assert "TAIL_EMPTY" in well
    assert entry.stat().st_size == 0


def test_runs_lists_each_run_with_its_counts(table: Table) -> None:
    """One run, four commits, whole in its sequence."""
    (run,) = table.ask("runs", table.file, "--json").data["runs"]
    assert (run["run_id"], run["commits"], run["read"], run["dead"], run["missing"], run["repeated"]) == ("run-1", 4, 183, 2, [], [])
    assert "1 run\n" in table.ask("runs", table.file).out


def test_dead_letters_are_listed_without_their_content(table: Table) -> None:
    """The list shows place, reason and id, newest first, filtered and cut as asked; key, value and headers are not in it."""
    data = table.ask("dead-letters", "list", table.file, "--json").data
    assert (data["total"], data["reasons"]) == (2, {"bad": 2})
    assert all({"key", "value", "headers"}.isdisjoint(one) for one in data["letters"])
    assert sorted((one["partition"], one["offset"]) for one in data["letters"]) == [(0, 3), (1, 150)]
    cut = table.ask("dead-letters", "list", table.file, "--limit", 1, "--json").data
    assert (cut["total"], len(cut["letters"])) == (2, 1)
    assert "1 more" in table.ask("dead-letters", "list", table.file, "--limit", 1).out
    assert table.ask("dead-letters", "list", table.file, "--reason", "other", "--json").data["total"] == 0


def test_a_letter_is_shown_byte_for_byte(table: Table) -> None:
    """`show` gives the record whole: as text where it is text, as a hex dump on demand, as base64 in JSON."""
    letters = table.ask("dead-letters", "list", table.file, "--json").data["letters"]
    (letter_id,) = [one["id"] for one in letters if one["offset"] == 150]
    assert "value (3 bytes): 150" in table.ask("dead-letters", "show", table.file, letter_id).out
    assert "00000000  31 35 30" in table.ask("dead-letters", "show", table.file, letter_id, "--hex").out
    shown = table.ask("dead-letters", "show", table.file, letter_id, "--json").data
    assert (base64.b64decode(shown["value"]), shown["key"], shown["offset"]) == (b"150", None, 150)


def test_a_letter_whose_record_lies_beyond_the_calendar_is_shown(table: Table) -> None:
    """Python's times end with the year 9999; a producer that writes microseconds for milliseconds is beyond it, and its letter is there."""
    bury(table.world, replace(letter(LANE, 40), timestamp=1_795_361_662_837_000))
    shown = table.ask("dead-letters", "show", table.file, _id_of(table, 40))
    assert (shown.code, "timestamp: 1795361662837000 ms since 1970" in shown.out) == (0, True)
    assert table.ask("dead-letters", "show", table.file, _id_of(table, 40), "--json").data["offset"] == 40


def test_letters_of_one_moment_come_from_the_last_offset_down(table: Table) -> None:
    """By number: as text, 9 would come before 10."""
    bury(table.world, *(letter(LANE, offset) for offset in (50, 100, 99, 61)))
    letters = table.ask("dead-letters", "list", table.file, "--json").data["letters"]
    offsets = [one["offset"] for one in letters if one["partition"] == LANE.partition]
    assert [offset for offset in offsets if offset >= 50] == [100, 99, 61, 50]


def test_a_filter_that_finds_nothing_says_what_there_is(table: Table) -> None:
    """A slip in a reason or a topic must not look like a table without dead letters."""
    for asked in (("--reason", "nope"), ("--topic", "nope")):
        assert "no such dead letters. There are: bad 2; of the topics events 2" in table.ask("dead-letters", "list", table.file, *asked).out


@pytest.mark.parametrize(
    ("content", "beginning"),
    [(b"ab\xc3\xa9cdef", "value (8 bytes): ab"), (b"ab\xffcdefg", "  00000000  61 62 ff")],
)
def test_a_huge_value_is_cut_on_a_terminal_and_that_is_said(content: bytes, beginning: str) -> None:
    """Text, also where the cut goes through a character, or bytes: the beginning, how much more there is, and how to see it."""
    *lines, last = shown({"value": content}, as_hex=False, bytes_max=3)
    assert lines[-1].split("   ")[0].startswith(beginning)
    assert last == "  … 5 bytes more: --whole, or a pipe, shows all of them"
    assert not any("more" in line for line in shown({"value": content}, as_hex=False))


def test_a_letter_cannot_steer_the_terminal(table: Table) -> None:
    """Control characters in a record's text or headers are shown escaped; bytes that are no text as a dump, whatever was asked."""
    nasty = letter(LANE, 41)
    text = type(nasty)(LANE, 42, 1, b"\xff\x00", b"\x1b[2Jgone", [("h\x1b", b"v\x9b"), ("n", None)], "decode", "b\x1bad", "m\nx", 1, 1.0)
    bury(table.world, text)
    letters = table.ask("dead-letters", "list", table.file)
    shown = table.ask("dead-letters", "show", table.file, _id_of(table, 42))
    assert "\x1b" not in letters.out + shown.out
    assert "key (2 bytes):\n  00000000  ff 00" in shown.out
    assert "header n: null" in shown.out


def _id_of(table: Table, offset: int) -> str:
    letters = table.ask("dead-letters", "list", table.file, "--json").data["letters"]
    (found,) = [one["id"] for one in letters if one["offset"] == offset]
    return str(found)


def test_an_unknown_letter_is_said_to_be_unknown(table: Table) -> None:
    """Exit 2, as for anything that is named and is not there, and a word about where ids come from."""
    said = table.ask("dead-letters", "show", table.file, "no/such/0/1")
    assert (said.code, said.out) == (2, "")
    assert f"`landfast dead-letters list {table.file}`" in said.err


def test_a_pipeline_without_letters_says_so(tmp_path: Path) -> None:
    """No table of dead letters is no error."""
    assert "no dead letters" in ask("dead-letters", "list", settings_file(tmp_path)).out


def test_stream_is_shown_as_topic_and_partition() -> None:
    """The same spelling everywhere."""
    assert str(Stream("events", "id", 3)) == "events[3]"


def test_status_of_a_damaged_log_says_what_is_damaged(table: Table) -> None:
    """A table with a garbled log entry is not called missing, nor its streams not started; file and next step are those of the case."""
    entry = max((Path(table.world.path) / "_delta_log").glob("*.json"))
    entry.write_text("garbage")
    said = table.ask("status", table.file)
    assert "no table yet" not in said.out
    assert "not started" not in said.out
    assert f"  problem: LOG_CORRUPT: the log entry _delta_log/{entry.name} of {table.world.path} is cut off or garbled" in said.out
    assert "next: LOG_CORRUPT: Keep a copy of _delta_log. If no later entry exists" in said.out
