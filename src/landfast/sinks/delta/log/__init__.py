"""What a table's log says, what is written into it, and how its end is made whole after a power cut.

entries        the entries of the log, read by version
entry_text     the entry of a commit of ours, as it is written
record         what a commit says of itself
replays        which rows had been dead letters, as the commit of a replay says
app_ids        under which names a table keeps positions, take-overs and fences
digests        of the data files, as the log has them
snapshot       the table at its newest version, and the files that are `active` there
lineage        whether the rows are still those that the positions speak of
spans          every span that ever landed
mending        a log after a power cut made sound: its checkpoints, and its `tail`
"""
