"""Pure functions from frames to frames: leaves, de-duplication, roll-up, price book, attribution."""
