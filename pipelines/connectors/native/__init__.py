"""Native usage objects of providers as disjoint token leaves, one family per file, for every log that carries them."""
