"""What lands rows, positions and dead letters.

sink           a batch becomes files and then one commit: begin here
rows           decoded rows in exactly the table's schema, split by its `partitions`; fields it lacks become columns (`evolve`)
entities       the rows of a batch for a table with one row per key
commit         compare and set: the one way in which rows and positions land
tenure         who may move a stream's position
turns          who comes first, where upserts of several workers write the same files again
dead_letters   records that are refused, buried whole as `letters`
retries        what all who commit share: waits, and a look at what became of a lost answer
"""
