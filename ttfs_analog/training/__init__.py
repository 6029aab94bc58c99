"""Gradient descent, also for chips that are not perfect."""
