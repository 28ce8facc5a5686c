"""The table as a whole: created or found suitable, marked as a pipeline's, opened, and watched for what others do to it."""
