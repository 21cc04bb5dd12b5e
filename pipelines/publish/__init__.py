"""Ways out: snapshots that BI reads, and what people ask of them. Nothing here computes a number."""
