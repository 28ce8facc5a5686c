"""The table as a whole: created or found suitable, marked as a pipeline's, opened, and watched for what others do to it.

startup        what is found out before the first read, in order: begin here
home           the table of a running pipeline: opened anew, followed, put into
view           what is known of its transactions at one version
place          where it lies, how to reach it, and the shape that it has
creation       how it comes to be, and what stands in the way: strange files, or `remains` of a former table
marks          whose it is
entities       whether it holds one row per key, and what can be a key
features       what it demands of writers and readers
columns        whether its columns agree with the settings', and how it is given more
trail          what people did with dead letters: the table beside it
halts          why a lane must not go on in it
"""
