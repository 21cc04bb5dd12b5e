"""The synthetic demo: a seeded generator of one coherent quarter in providers' own formats, and of benchmark logs."""
