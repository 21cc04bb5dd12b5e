"""The core floor: staged rows become the final rows of each UTC day, every call and every bucket once."""
