"""What an upsert does to a table: one row per key, the newest, and files written again without the rows that made way.

keys       finds rows by their key
order      which of two rows is the newer
pruning    which files may hold a row of some keys
meeting    what rows of a batch and rows of a file come to, key by key
upsert     what a commit changes, for the version that it is made on: begin here
"""
