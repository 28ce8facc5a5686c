"""Codes of the source: brokers, topics, partitions, and what the log still holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes.entry import NOTHING_DONE, NOTHING_LOST, OTHERS_GO_ON, Code

TABLE: Mapping[str, Code] = MappingProxyType(
    {
        "ACCEPTANCE_IDLE": Code(
            "A line under `source.accept_expired` has no effect: it names a partition or a topic id that is not there, an offset beyond "
            "the end of the log, or no id where the topic was made anew. A topic that was deleted and created again leaves such lines.",
            "Nothing is passed over by that line. A stream whose records retention took halts, and names the line that holds.",
            "Remove the line, or correct it.",
        ),
        "BATCH_CORRUPT": Code(
            "Records in the log fail their checksum or cannot be decompressed.",
            OTHERS_GO_ON,
            "Check the broker's disk and its other replicas; the message names the offset at which reading stands.",
        ),
        "BROKER_UNREACHABLE": Code(
            "A broker does not answer; the client tries again by itself.",
            NOTHING_LOST,
            "Nothing if it clears. If it stays, check the broker, the network and the `servers` setting.",
        ),
        "DATA_EXPIRED": Code(
            "Retention removed records before they were read: the position lies below the log's first offset.",
            "What landed is untouched. The range in the message is gone from the log; other lanes go on.",
            "If the range is lost for good, accept that: the next step of the message names the line to write under "
            "`[source.accept_expired]`, with the offset at which the log begins now. Start again, and give the topic a longer retention.",
        ),
        "EXPIRED_ACCEPTED": Code(
            "Retention removed records before they were read, and `source.accept_expired` accepts it: reading goes on behind them.",
            "The range in the message lands as a gap, without a record. Nothing is passed over that the log still has.",
            "Nothing. Once the stream has landed beyond the offset, the line in the settings has no effect any more: remove it.",
        ),
        "GROUP_COMMIT_FAILED": Code(
            "The group's offsets on the broker could not be written. Other tools show a lag that is not there.",
            "Nothing depends on them: the position that counts is in the table.",
            "Nothing if it clears. If it stays, grant read on the group.",
        ),
        "GROUP_NOT_LEFT": Code(
            "At its end a worker could not take leave of its consumer group, since the brokers do not answer.",
            "What had landed stays landed; the run ends as it would have.",
            "Nothing. The group gives its partitions to others when the session ends (`session_seconds`).",
        ),
        "GROUP_REJOINED": Code(
            "The `instance_id` went to another member, perhaps to this worker itself, after this worker had stood still for most of "
            "its session.",
            NOTHING_LOST,
            "Nothing if it comes once: the worker lets everything go and joins anew. If it comes again, look for what makes the worker "
            "stand still, or for another living member with the same `instance_id`.",
        ),
        "GROUP_WAITING": Code(
            "The consumer group has given this worker no partition for a while.",
            NOTHING_LOST,
            "Wait: members that died keep theirs until their session ends (`session_seconds`), and with the newer protocol also their "
            "`instance_id`. It stays so while there are more workers than partitions; stop one, or add partitions.",
        ),
        "KAFKA_CLIENT": Code(
            "The Kafka client library warns of something; the message is its own, without secrets.",
            NOTHING_LOST,
            "Nothing if it clears. Otherwise read the message.",
        ),
        "LOG_TRUNCATED": Code(
            "The log ends before the position that already landed: records that we hold are no longer in it.",
            "What landed stays. Nothing new is read, since offsets may have been given to other records.",
            "Look for an unclean leader election or a restored broker, and compare with `landfast verify --source`. To go on, give the "
            "pipeline another `sink.path`: a new table begins at the log's first record, and what landed stays in this one.",
        ),
        "LSO_STUCK": Code(
            "A producer's transaction stays open: nothing behind it may be read before it ends.",
            NOTHING_LOST,
            "Find the producer (`kafka-transactions.sh find-hanging`) and let it end, or abort its transaction; reading then goes on.",
        ),
        "READ_FROM_FIRST": Code(
            "A partition of which nothing has landed is read from its first record, though `source.start` says otherwise: the table holds "
            "other partitions of its topic, so it counts as added while no worker ran.",
            "Nothing is passed over. If the partition is an old one, whose place could not land at the first start, since it had no leader "
            "or its lane had halted, what was in its log then lands as well.",
            "Nothing, if the partition was added, or its older records are welcome. Otherwise leave them out where the table is read: each "
            "row names its partition and offset.",
        ),
        "SOURCE_AUTH": Code(
            "The broker refuses our credentials, or they lack a right on the topic or the group.",
            NOTHING_LOST,
            "Correct the credentials or grant read on the topics and the group that the message names.",
        ),
        "SOURCE_DOWN": Code(
            "No broker answers. Landfast waits and goes on by itself as soon as one does.",
            NOTHING_LOST,
            "Start the brokers, or correct `servers`.",
        ),
        "SOURCE_FATAL": Code(
            "The Kafka client cannot go on: another living member has the same instance id, or the broker is not one that it understands.",
            NOTHING_LOST,
            "Stop the other member, or correct what the message names, and start again. Where no other lives: its session is longer than "
            "`instance_seconds_max`.",
        ),
        "SOURCE_THROTTLED": Code(
            "A broker holds its answers back, since a quota of this client or user is used up.",
            NOTHING_LOST,
            "Nothing, if the quota is meant: reading goes as fast as it lets. Else raise `consumer_byte_rate` of the user or client id.",
        ),
        "STUCK_AT": Code(
            "A partition has records to read and brings none: it made no progress for `stall_seconds`.",
            OTHERS_GO_ON,
            "Look at the record at the offset in the message: too large a batch, an open transaction, or a broker that cannot serve it.",
        ),
        "TOPIC_GONE": Code(
            "A topic that was being read was deleted.",
            "What landed stays. What had not been read went with the topic.",
            "Restore the topic, or take it out of the settings.",
        ),
        "TOPIC_MISSING": Code(
            "A topic that the settings name does not exist, or may not be seen with these credentials.",
            NOTHING_DONE,
            "Create the topic, correct its name, or grant describe on it.",
        ),
        "TOPIC_REPLACED": Code(
            "The topic was deleted and created again under the same name: its offsets mean other records now.",
            "What landed of the former topic stays, nothing of the new one was mixed with it.",
            "If the new topic is wanted, add its id from the message to `sink.accept_topic_ids`: it then starts as a stream of its own.",
        ),
        "TOPIC_UNROUTED": Code(
            "A topic that the pattern matches is taken by no route, or by more than one: it appeared after the start.",
            "Nothing of it was read; its records stay in the log.",
            "Let exactly one route take it, or narrow the pattern, and start again.",
        ),
        "UNSAFE_FORK": Code(
            "The process was forked while its pipeline ran, and the child went on with the Kafka client of its parent.",
            "The child ended before it read or landed anything; the parent goes on.",
            "Fork before the pipeline runs, or start other processes by spawn or forkserver instead.",
        ),
    }
)
