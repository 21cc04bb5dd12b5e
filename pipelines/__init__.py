"""How bytes become trusted rows: plain Python, Polars and DuckDB. Nothing here imports Dagster."""
