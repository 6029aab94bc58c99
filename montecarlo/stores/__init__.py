"""Datasets on disk: written region by region, and what of them a copy has lost."""
