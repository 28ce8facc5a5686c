"""What people do with dead letters: replayed into the table, edited, discarded, each at most once, with a trail.

replay         letters become rows, once however often they are repeated or killed: begin here
discard        letters that are not to land
presence       which letters are rows of the table already, where each record is a row
decisions      which letters have landed, where there is one row per key
trail          what was done is written down, beside the table
"""
