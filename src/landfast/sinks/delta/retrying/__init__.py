"""Letters that the pipeline tries again by itself.

retries   the port, over the table of letters, the trail and a replay: begin here
line      who waits, and who is due: in memory, a stream's letters in the order of their offsets
manner    how such a replay goes about it: in the order of each key, fenced, with its own notes in the trail
"""
