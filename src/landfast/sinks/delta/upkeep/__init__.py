"""What keeps a table fast and small, between commits.

maintenance    what is due, and when: begin here
checkpoint     a checkpoint that is durable before any reader can see it
compaction     small files made into large ones
sightings      how long each file that nobody names has been seen so, before it is swept
roll_up        spans saved from the log before its entries are cleaned up
"""
