"""Tests, in folders by purpose: unit, sql, golden, integration, properties, faults, conventions."""
