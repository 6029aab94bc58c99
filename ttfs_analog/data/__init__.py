"""Data to train and judge on."""
