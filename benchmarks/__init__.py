"""Benchmarks: logs of any size, our job and its references, measured in fresh processes."""
