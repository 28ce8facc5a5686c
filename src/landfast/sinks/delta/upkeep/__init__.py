"""What keeps a table fast and small, between commits.

maintenance    what is due, and when: begin here
checkpoint     a checkpoint that is durable before any reader can see it
compaction     small files made into large ones
sweep          files that nobody names removed, once they have been seen so for long enough
roll_up        spans saved from the log before its entries are cleaned up
"""
