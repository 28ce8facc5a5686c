"""A sink that calls a function with each batch, and keeps how far that got as the offsets of a consumer group.

records    what the function is given, the decoder that makes it, and how the function says which records it refuses
isolation  halving a batch until the records that cannot pass are alone
sink       calls the function, then moves the offsets
"""
