"""From landed files to staged rows: what is new, what a file holds, and the ledger of what became of it."""
