"""Readers of price feeds and the tool that builds the shipped price book. Offline: nothing here downloads."""
