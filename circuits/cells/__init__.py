"""Transistor-level subcircuits, one physical block a file: level F3."""
