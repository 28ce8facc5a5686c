"""Batches that people write themselves, each of them once: whoever repeats a write, whenever, also at the same moment.

write        one write: its rows become files, and then one commit, or none
commit       a write whose files lie in the table, compared and put
values       what a write can be told, and what it says of itself in the end
fitting      rows of any maker, fitted to the columns of a table without loss
replacing    rows in the place of those that a predicate finds
staging      rows of any number as files, in bounded memory
digest       by which a repeated write knows whether its rows are the same
record       what a write says of itself in the log
persistence  how long something is tried
attempts     what came of each attempt, for people
runs         the runs that a table tells of
together     several tables in one commit
intent       what such a commit writes down before it begins
"""
