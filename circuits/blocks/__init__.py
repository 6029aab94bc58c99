"""Transistor-level blocks, one a file, as subcircuits."""
