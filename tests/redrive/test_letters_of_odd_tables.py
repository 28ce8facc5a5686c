"""Replays into tables of every kind, of records of every kind, beside what others have written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from landfast import LetterFilter, Redrive
from landfast.audit import Kind
from landfast.config import load
from landfast.errors import Misconfigured
from landfast.sinks.delta import DeltaDeadLetters
from landfast.sinks.delta.files.paths import letters_path, trail_path
from landfast.sinks.delta.proof.resolutions import Trail, resolved
from landfast.sinks.delta.settings import DeltaSettings
from tests.cli.table import ask
from tests.redrive.letters_world import EVERYTHING, GOOD, LANE, many, scene_at
from tests.sinks.delta_proof import OTHER, bury, land, letter, made
from tests.sinks.delta_world import world_at


@pytest.mark.parametrize("partition_by", ["text", "_topic", "_partition"])
def test_letters_land_in_a_partitioned_table_once(tmp_path: Path, partition_by: str) -> None:
    """Also where a coordinate is in the path and not in the file."""
    world = replace(world_at(tmp_path), settings=DeltaSettings("", partition_by=(partition_by,)))
    scene = scene_at(tmp_path, world=world, changes={'path = "table"': f'path = "table"\npartition_by = ["{partition_by}"]'})
    assert scene.replay().landed == 3
    trail = Path(f"{scene.world.path}__trail")
    trail.rename(tmp_path / "elsewhere")
    assert dict(scene.replay().outcomes) == {"already there": 3, "refused": 1}
    assert [scene.rows()[0, offset] for offset in GOOD] == [1, 1, 1]
    assert scene.proof().findings == ()


@pytest.mark.parametrize("how", [{"use_deprecated_int96_timestamps": True}, {"coerce_timestamps": "ms"}])
def test_rows_that_another_engine_has_rewritten_in_other_units_are_there(tmp_path: Path, how: dict[str, object]) -> None:
    """A replay that was stopped before its resolution, then a rewrite with times of another unit: nothing lands again."""
    scene = scene_at(tmp_path)
    assert scene.replay().landed == 3
    Path(f"{scene.world.path}__trail").rename(tmp_path / "elsewhere")
    root, table = Path(scene.world.path), DeltaTable(scene.world.path)
    actions: list[dict[str, object]] = [{"commitInfo": {"operation": "OPTIMIZE"}}]
    for number, old in enumerate(pa.table(table.get_add_actions()).to_pylist()):
        name, rows = f"part-{number}.parquet", pq.read_table(root / old["path"])
        pq.write_table(rows, root / name, **how)
        of_file = {"size": (root / name).stat().st_size, "modificationTime": 1, "stats": json.dumps({"numRecords": rows.num_rows})}
        actions.append({"remove": {"path": old["path"], "deletionTimestamp": 1, "dataChange": False}})
        actions.append({"add": {"path": name, "partitionValues": {}, "dataChange": False, **of_file}})
    entry = root / "_delta_log" / f"{table.version() + 1:020d}.json"
    entry.write_text("\n".join(map(json.dumps, actions)), encoding="utf-8")
    assert dict(scene.replay().outcomes) == {"already there": 3, "refused": 1}
    assert max(scene.rows().values()) == 1


def test_a_table_that_grows_gains_the_columns_of_letters(tmp_path: Path) -> None:
    """What the settings say of unknown fields holds for a replay too."""
    world = replace(world_at(tmp_path), settings=DeltaSettings("", unknown_fields="evolve"))
    grown = {"[decode.columns]": '[decode]\nunknown_fields = "evolve"\n[decode.columns]'}
    scene = scene_at(tmp_path, {LANE: {2: b'{"number": 2, "new": 5}'}}, world=world, changes=grown)
    assert scene.replay(dry_run=True).landed == 1
    assert scene.replay().landed == 1
    rows = DeltaTable(scene.world.path).to_pyarrow_table().to_pylist()
    assert [row["new"] for row in rows if row["_offset"] == 2] == [5]


def test_a_record_without_a_value_stays_open_where_such_are_skipped(tmp_path: Path) -> None:
    """No row would come of it, so nothing would be replayed: it can be discarded, or given a value."""
    scene = scene_at(tmp_path, {LANE: {2: None}})
    (left,) = scene.replay().still_open
    assert (left.outcome, left.reason, left.message) == ("refused", "tombstone", "the settings skip such records: no row would land")
    scene.redrive().edit("events-0-2", b'{"number": 2}')
    assert scene.replay().landed == 1


def test_what_the_table_cannot_hold_is_refused_and_the_rest_lands(tmp_path: Path) -> None:
    """A decoder may take what a table does not: one row in the way of a commit stays open alone, in a dry run as well."""
    world = replace(world_at(tmp_path), settings=DeltaSettings("", partition_by=("text",)))
    dead = {LANE: {2: b'{"number": 2, "text": ""}', 3: b'{"number": 3, "text": "x"}'}}
    scene = scene_at(tmp_path, dead, world=world, changes={'path = "table"': 'path = "table"\npartition_by = ["text"]'})
    for dry_run in (True, False):
        report = scene.replay(dry_run=dry_run)
        assert (dict(report.outcomes), dict(report.reasons)) == ({"landed": 1, "refused": 1}, {"partition_value_empty": 1})
    assert scene.rows()[0, 3] == 1


def test_a_trail_that_is_gone_is_told_and_written_anew(tmp_path: Path) -> None:
    """The rows are the proof, and the log says of them what they are: nothing lands again."""
    scene = scene_at(tmp_path)
    scene.replay()
    Path(f"{scene.world.path}__trail").rename(tmp_path / "elsewhere")
    proof = scene.proof()
    assert (proof.findings, proof.unresolved, proof.replayed) == ((), 3, 0)
    assert dict(scene.replay().outcomes) == {"already there": 3, "refused": 1}
    proof = scene.proof()
    assert (proof.findings, proof.unresolved, proof.replayed) == ((), 0, 3)


def test_the_trail_of_another_table_says_nothing(tmp_path: Path) -> None:
    """One that was left beside, where a table and its letters were moved away: the same places are letters of another id."""
    scene = scene_at(tmp_path)
    scene.replay()
    for name in ("table", "table__dead_letters"):
        (tmp_path / name).rename(tmp_path / f"former-{name}")
    again = scene_at(tmp_path)
    proof = again.proof()
    assert (proof.findings, proof.open_letters, proof.replayed) == ((), 4, 0)
    assert again.replay().landed == 3


def test_a_row_at_a_letters_place_that_no_replay_explains_is_found(tmp_path: Path) -> None:
    """A resolution explains a row; an open letter with a row is damage, as before."""
    scene = scene_at(tmp_path)
    scene.replay()
    sink = scene.world.sink("wrong")
    land(sink, made(OTHER, range(11, 20), 20))
    bury(scene.world, letter(OTHER, 15))
    assert Kind.ROW_AND_LETTER in {finding.kind for finding in scene.proof().findings}


def test_a_replayed_row_that_lies_there_twice_is_found(tmp_path: Path) -> None:
    """Whoever may have copied it."""
    scene = scene_at(tmp_path)
    scene.replay()
    table = DeltaTable(scene.world.path)
    newest = max(table.file_uris(), key=lambda path: Path(path).stat().st_mtime_ns)
    copy = Path(newest).with_name("landfast-" + "0" * 32 + ".zstd.parquet")
    copy.write_bytes(Path(newest).read_bytes())
    log = Path(scene.world.path) / "_delta_log"
    lines = (log / f"{table.version():020d}.json").read_text().splitlines()
    (add,) = [json.loads(line) for line in lines if '"add"' in line]
    add["add"]["path"] = copy.name
    (log / f"{table.version() + 1:020d}.json").write_text(json.dumps(add))
    assert Kind.DOUBLED_ROW in {finding.kind for finding in scene.proof().findings}


def test_a_range_that_somebody_wrote_into_the_log_is_not_spelled_out() -> None:
    """It may be as long as all offsets there are: only the letters in it are looked at."""
    letters = {LANE: pa.array([1, 5], pa.int64())}
    found = resolved(letters, Trail(), {LANE: [(0, 2**63 - 1), (-(2**63), 3)]})
    assert (found.rows[LANE].to_pylist(), found.unresolved) == ([1, 5], 2)


def test_names_that_no_table_can_hold_are_refused_or_written_as_escapes(tmp_path: Path) -> None:
    """A command line may be any bytes."""
    scene = scene_at(tmp_path)
    report = Redrive(load(scene.file), by="ann\udc80").discard(["events-0-2"], why="no\udc80")
    assert report.discarded == 1
    assert [(act["by"], act["why"]) for act in scene.acts()] == [("ann\\udc80", "no\\udc80")]


def test_which_letters_are_meant_has_to_be_said_in_one_way(tmp_path: Path) -> None:
    """Neither nothing nor two things."""
    redrive = scene_at(tmp_path).redrive()
    for only, where in ((None, None), (["events-0-2"], EVERYTHING)):
        with pytest.raises(Misconfigured, match="say which letters are meant"):
            redrive.replay(only, where=where)


def test_a_pipeline_of_several_routes_needs_to_be_told_which(tmp_path: Path) -> None:
    """Each has a table and letters of its own."""
    scene = scene_at(tmp_path)
    text = scene.file.read_text()
    routes = {"a": ("events", "table"), "b": ("b", "b")}
    more = "".join(
        f'[[routes]]\nname = "{name}"\ntopics = ["{topic}"]\nsink = {{ path = "{path}" }}\n' for name, (topic, path) in routes.items()
    )
    scene.file.write_text(text.replace('[sink]\npath = "table"\n', "").replace('topics = ["events"]', 'topics = ["events", "b"]', 1) + more)
    with pytest.raises(Misconfigured, match="several routes") as refused:
        Redrive.from_file(scene.file)
    assert refused.value.next_step == "Name one of: a, b."
    assert Redrive.from_file(scene.file, "a").replay(["events-0-3"]).landed == 1


def test_memory_is_bounded_however_large_the_letters_are(tmp_path: Path) -> None:
    """Sixty letters of a megabyte, of which two megabytes are held at once: the peak stays far below all of them twice."""
    text = b'"' + b"x" * 1_000_000 + b'"'
    scene = scene_at(tmp_path, {LANE: {offset: b'{"number": %d, "text": %s}' % (offset, text) for offset in range(60)}})
    code = """
import sys
from landfast import LetterFilter, Redrive
from landfast.config import load
from landfast.sinks.delta.proof.letters import LetterLimits
def held(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) // 1024
Redrive(load(sys.argv[1])).replay(where=LetterFilter(reason="none"))
before = held("VmRSS")
report = Redrive(load(sys.argv[1]), limits=LetterLimits(bytes_max=2 << 20)).replay(where=LetterFilter())
print(report.landed, held("VmHWM") - before)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(scene.file)], capture_output=True, text=True, check=True)
    landed, mebibytes = map(int, ended.stdout.split())
    assert (landed, mebibytes < 90) == (60, True), ended.stdout


def test_a_file_of_large_values_can_be_read_in_parts(tmp_path: Path) -> None:
    """Its pages are small: one of a thousand values of a megabyte would have to be held whole."""
    scene = scene_at(tmp_path, {LANE: {offset: bytes(100_000) + b"%d" % offset for offset in range(300)}})
    (path,) = DeltaTable(f"{scene.world.path}__dead_letters").file_uris()
    before = pa.default_memory_pool().bytes_allocated()
    batches = pq.ParquetFile(path).iter_batches(1, columns=["value"])
    first = next(batches)
    assert first.num_rows == 1
    assert pa.default_memory_pool().bytes_allocated() - before < 10_000_000


def test_progress_is_told(tmp_path: Path) -> None:
    """How many letters were dealt with, part by part."""
    scene = scene_at(tmp_path, many(5))
    heard: list[int] = []
    scene.redrive().replay(where=LetterFilter(), dry_run=True, progress=heard.append)
    scene.redrive().discard(where=LetterFilter(), why="all of it", progress=heard.append)
    assert heard == [5, 5]


@pytest.mark.parametrize("which", ["letters", "trail", "rows"])
def test_what_deltalake_has_rewritten_is_read_as_before(tmp_path: Path, which: str) -> None:
    """It stores texts in a type that pyarrow can compute nothing with: letters are listed, shown and replayed, and a start finds them."""
    scene = scene_at(tmp_path)
    scene.redrive().edit("events-0-2", b'{"number": 1}')
    scene.redrive().edit("events-0-3", b'{"number": 1}')
    paths = {"letters": letters_path(scene.world.path), "trail": trail_path(scene.world.path), "rows": scene.world.path}
    gone = {"letters": "offset = 5", "trail": "offset = 3", "rows": "_offset = 1"}
    DeltaTable(paths[which]).delete(gone[which])
    left = [2, 3] if which == "letters" else [2, 3, 5]
    assert DeltaDeadLetters(scene.world.home()).buried(LANE, 0) == set(left)
    assert [one.offset for one in scene.redrive().letters() if one.partition == 0] == left
    shown = ask("dead-letters", "show", scene.file, "events-0-2")
    assert (shown.code, "edited: 20" in shown.out) == (0, True)
    assert scene.replay().landed == len(left)
    assert dict(scene.replay().outcomes) == {"refused": 1}
