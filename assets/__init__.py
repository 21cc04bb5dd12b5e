"""Everything Dagster: what exists, when it runs, what is checked; and the command line."""
