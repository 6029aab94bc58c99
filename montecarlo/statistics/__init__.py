"""Estimates with their intervals, and tests of laws."""
