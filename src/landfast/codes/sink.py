"""Codes of the sink: the table, its store, its schema and its commits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes.entry import NOTHING_DONE, NOTHING_LOST, Code

TABLE: Mapping[str, Code] = MappingProxyType(
    {
        "BATCH_REFUSED": Code(
            "A library cannot take a value or a type in a batch, and does not say in which row. Values are looked for by halving the batch "
            "(`ROWS_ISOLATED`); where that finds none, it is tried again, and then the lanes halt.",
            NOTHING_LOST,
            "Compare the table's columns with the settings', and report the message: the rows should have been found one by one.",
        ),
        "BUCKET_MISSING": Code(
            "The store answers, and has no bucket or container of the name in the table's path.",
            NOTHING_LOST,
            "Create it, or correct `sink.path`; for a store of your own, look at the endpoint in `sink.storage_options`.",
        ),
        "CALL_REFUSED": Code(
            "The system, the store or a library refuses what it was asked for: a name that cannot be, an option, an operation.",
            NOTHING_LOST,
            "Look at `sink.path` and `sink.storage_options`. It is tried again while retries last; then the lanes halt.",
        ),
        "CHECKPOINT_BAD": Code(
            "A checkpoint of the table's log was damaged or missing, as a power cut leaves it, and was removed.",
            "Nothing is lost: a checkpoint only repeats what the log's entries say, and all of them are there.",
            "Nothing. Upkeep writes the next one.",
        ),
        "COLUMNS_ADDED": Code(
            "Records had fields that the table had no column for, and the settings let the table grow.",
            "A value moved into its column only where the column holds it exactly; everything else is in `_rescued`.",
            "Nothing, or set `unknown_fields` to `rescue` if the table should not grow.",
        ),
        "COLUMNS_LEFT_OUT": Code(
            "The table has columns that the settings do not name.",
            "They stay null in new rows. A field of such a name is an unknown one: `unknown_fields` says what becomes of it.",
            "Add the columns to `[decode.columns]` if they should be filled.",
        ),
        "COMMIT_CONFLICT": Code(
            "Another writer committed to the table at the same moment; ours was refused and is made again on a fresh snapshot.",
            NOTHING_LOST,
            "Nothing. If it happens all the time, look for a second writer or too many small commits.",
        ),
        "COMMIT_INCOMPLETE": Code(
            "An earlier commit of this run to several tables is not in all of them yet, and could not be carried out now.",
            "What is missing lies as files in the tables concerned; readers who ask for sealed versions see nothing of it.",
            "Mend what the message names, then start again, or call `landfast.complete_commits`.",
        ),
        "COMMIT_WAS_OURS": Code(
            "A commit looked refused, and reading the position back showed that our own earlier attempt had landed it.",
            "The records landed once.",
            "Nothing.",
        ),
        "DISK_FULL": Code(
            "The disk, its inodes or a quota is exhausted.",
            NOTHING_LOST,
            "Free space; Landfast goes on by itself while retries last.",
        ),
        "FD_LIMIT": Code(
            "The process or the system has no file descriptors left.",
            NOTHING_LOST,
            "Raise the limit (`ulimit -n`) or look for what holds so many files.",
        ),
        "FILE_CHANGED": Code(
            "A data file of the table is not as Landfast wrote it: its digest is not the one in the table's log.",
            "Small files beside it are not joined with it, so nothing vouches for what was changed. The landing goes on.",
            "Run `landfast verify`, which names every changed file and its offsets; put the file back from a copy, or ask Kafka for them.",
        ),
        "FOREIGN_PIPELINE": Code(
            "The table holds positions of another pipeline, or rows that no pipeline of this name has written.",
            NOTHING_DONE,
            "Check `name` and `path`. One table belongs to one pipeline; give this one a table of its own.",
        ),
        "FSYNC_FAILED": Code(
            "The operating system could not make written data durable. What it still holds in memory cannot be trusted.",
            "What was committed before stays. The run stopped without a second attempt: a second fsync may lie.",
            "Check the disk, then start again: the table's own position says where to go on.",
        ),
        "KEY_UNUSABLE": Code(
            "The columns in `sink.key`, `sink.order_by` or `sink.delete_when` cannot tell rows apart, put them into order, or mark them.",
            NOTHING_DONE,
            "Name columns of the data: for a key string, binary, integer, boolean, date, timestamp or decimal; for an order the same, but "
            "for binary and boolean; for the marker a boolean one.",
        ),
        "LETTER_AMBIGUOUS": Code(
            "An id names several dead letters, since the topic was deleted and made again: each incarnation has one at this place.",
            NOTHING_DONE,
            "Add `@` and the topic id, as the message shows them.",
        ),
        "LETTER_MISSING": Code(
            "No dead letter of this pipeline has the id.",
            NOTHING_DONE,
            "Look at `landfast dead-letters list`; letters that were replayed or discarded are shown with `--state all`.",
        ),
        "LETTER_RESOLVED": Code(
            "The dead letter was replayed or discarded already, so nothing would come of an edit.",
            NOTHING_DONE,
            "Look at `landfast dead-letters show`, which tells who has resolved it, and when.",
        ),
        "LINEAGE_BROKEN": Code(
            "The table was restored, truncated or overwritten after our last commit, while its positions stayed: what they say has landed "
            "may be gone.",
            "Nothing was written on top of it.",
            "Find out who changed the table; `landfast verify` shows what is missing. Restore the version that held the rows and accept "
            "the version which that makes (`sink.accept_lineage_version`), or land into a new table: another `sink.path`.",
        ),
        "LOG_CORRUPT": Code(
            "A file of the table's log is damaged.",
            "Nothing was changed.",
            "Keep a copy of `_delta_log`. Restore the file that the message names from a backup.",
        ),
        "NOT_A_TABLE": Code(
            "The path holds files, and they are no Delta table; a file lies where a folder has to be; or the path is inside another table.",
            NOTHING_DONE,
            "Choose an empty path that is inside no table, or one that holds a Delta table.",
        ),
        "MAINTENANCE_FAILED": Code(
            "Upkeep of the table (a checkpoint, compaction, the sweep, the clean-up of the log) did not work this time.",
            "No position and no row is concerned, and landing goes on. Upkeep is tried again later.",
            "Nothing if it passes. If it repeats, correct the cause in the message: without upkeep the table grows slower to read.",
        ),
        "OUTCOME_UNKNOWN": Code(
            "The answer to a commit was lost and the position could not be read back yet, so nobody knows whether it landed.",
            "Nothing is written again before the position has been read back, so nothing can land twice.",
            "Make the store reachable again; Landfast then reads the position and goes on.",
        ),
        "PARTITIONS_TOO_MANY": Code(
            "A batch has rows for more partitions of the table than `sink.partitions_per_batch_max`: each takes a file and a folder, so "
            "a column like an id would bury the table in tiny files.",
            NOTHING_LOST,
            "Land into a table that is partitioned by something with fewer values, such as a date. If so many files are meant, raise "
            "`sink.partitions_per_batch_max`, or make batches smaller.",
        ),
        "PIPELINE_CONFLICT": Code(
            "Another owner moved the position first; the fence refused our commit.",
            NOTHING_LOST,
            "Nothing: the engine reads the position again. If it repeats, look for a second copy of this pipeline.",
        ),
        "PIPELINE_DUPLICATE": Code(
            "A second pipeline writes positions of the same streams into this table.",
            "The fence lets each record land once, whoever is first.",
            "Stop one of the two, or give it a table of its own.",
        ),
        "PROTOCOL_UNSUPPORTED": Code(
            "The table uses a Delta feature that Landfast does not write safely.",
            "Nothing was written.",
            "Turn the feature off that the message names, or land into a new table.",
        ),
        "ROWS_ISOLATED": Code(
            "The sink could not take a batch and did not say why. The batch was halved until the rows that it cannot take were alone.",
            "They become dead letters with the reason `refused_alone`, whole; every other row of the batch lands.",
            "Look at the dead letters and at the code in the message; the sink, or a library of its, should have named them.",
        ),
        "ROWS_REFUSED": Code(
            "The table cannot hold some rows as they are; the message and the dead letters name column and reason.",
            "They become dead letters, whole; every other row of the batch lands.",
            "Look at the dead letters; correct the column, or the producer.",
        ),
        "SCHEMA_CONFLICT": Code(
            "The table's columns and the settings' columns do not fit together.",
            "The table was not changed, and no position moved: what has not landed is still in the log.",
            "Make the settings and the table agree on the column that the message names.",
        ),
        "SCHEMA_INVALID": Code(
            "A column in the settings has a type or a name that cannot be.",
            NOTHING_DONE,
            "Correct the column that the message names; it shows the types there are.",
        ),
        "SINK_AUTH": Code(
            "There are no credentials, the store refuses ours, or the path may not be written.",
            NOTHING_LOST,
            "Give or correct credentials (`sink.storage_options`, or the store's own variables), or the permission.",
        ),
        "SINK_DOWN": Code(
            "The store does not answer, or answers with a fault of its own.",
            NOTHING_LOST,
            "Make the store reachable. Landfast tries again with growing waits, and halts the lanes when retries end.",
        ),
        "SINK_THROTTLED": Code(
            "The store asks us to slow down.",
            NOTHING_LOST,
            "Nothing if it clears. Otherwise use larger batches or ask for a higher limit.",
        ),
        "STAGED_FILE_GONE": Code(
            "A file that was written for a batch was no longer there, or not as it was written, when the commit was about to name it.",
            "Nothing of the batch has landed, and no position has moved: its records are read again.",
            "Nothing. If it repeats, find out what removes files from the table's folder: a clean-up with too short an age, or a clock.",
        ),
        "RUN_UNKNOWN": Code(
            "The table's log tells of no run with this id: it never landed anything there, or clean-up has taken its commits.",
            NOTHING_DONE,
            "Correct the id or the table; `landfast.runs_in(table)` lists the runs that the log tells of.",
        ),
        "TABLE_MISSING": Code(
            "There is no table at the path, and nothing says what to create; or the table vanished while running; or dead letters of a "
            "former table lie beside the path, and a new table would bury the same records again.",
            NOTHING_LOST,
            "If a table was there before, bring it back, or start anew with its dead letters moved away or another `sink.path`. Otherwise "
            "set `[decode.columns]` or run `landfast init`.",
        ),
        "TABLE_REPLACED": Code(
            "The table was dropped and created again: it is not the one this run began with, or not the one whose dead letters "
            "lie beside it.",
            "Nothing was written into the new one.",
            "Bring the former table back. If the new one is meant, move `<table>__dead_letters` away and start again, or set another "
            "`sink.path`; it has no positions and begins by the `start` setting.",
        ),
        "TAIL_EMPTY": Code(
            "The table's last commit file is empty, as a power cut leaves it; readers see the version before it.",
            "Its records are read again from the log, since position and rows went together.",
            "Nothing if the log still has the range; the message names the version.",
        ),
        "TAIL_TORN": Code(
            "The table's last commit file was cut off or had holes, as a power cut leaves it. What was left of it is kept beside it, under "
            "the name that the message gives.",
            "Its records are read again from the log, since position and rows went together.",
            "Nothing if the log still has the range; if not, its lane halts and says so. If the power did not fail, check the disk.",
        ),
        "TXN_RETENTION_UNSAFE": Code(
            "The table lets transaction identifiers expire (`delta.setTransactionRetentionDuration`), and with them the positions.",
            NOTHING_DONE,
            "Remove the property from the table.",
        ),
        "UNSAFE_STORE": Code(
            "The store overwrites a file that exists where it must refuse: two writers could destroy each other's commits.",
            "Only the probe was written, and it was removed.",
            "Use a store with conditional writes, or the storage option that turns them on.",
        ),
        "UPSERT_CHANGED": Code(
            "A table is kept with one row per key, or with a row for each record, from its beginning, and the settings say otherwise; or "
            "they name another key or order.",
            NOTHING_DONE,
            "Set `sink.mode`, `sink.key` and `sink.order_by` as the table has them, or land into another table under another name.",
        ),
        "VERSION_TOO_OLD": Code(
            "A later version of Landfast has written to the table, in a form that this version does not know.",
            NOTHING_DONE,
            "Run the version that wrote to it, or a later one.",
        ),
        "WRITE_DIFFERS": Code(
            "A write under this `app_id` and `version` has landed before, with other rows.",
            "What has landed stays as it is. Nothing of the repeated write has landed.",
            'Write other rows under the next version. Where they are the same in another order, say `other_rows="skip"`.',
        ),
        "WRITE_INVALID": Code(
            "A call of `landfast.write_idempotent`, or of a run, was given what it cannot take.",
            NOTHING_DONE,
            "Correct the call: the message names the value and what it has to be.",
        ),
    }
)
