"""What only looks: the proof of a table from itself, and what people ask of it.

verify         every offset that the commits account for is in one place, and every byte as written: begin here
scan           the files, read for their coordinates and checksums
tally          rows counted by span, with the `offsets` as columns
one_per_key    what is proved of a table with one row per key
close_up       which offsets exactly, where counts and rows disagree
foreign        rows of ours in files that another writer wrote
inspection     what `check` and `status` see
letters        the dead letters by their `coordinates`, in order and in bounded memory; `acts`: what was done with them
resolutions    dead letters that are rows now, and those that nobody waits for any more
lookup         letters and the last commit, for people
runs           the runs that have landed
"""
