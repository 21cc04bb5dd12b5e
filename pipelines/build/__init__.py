"""Building what changed between core and marts: the graph of tables, and the tables that Python computes."""
