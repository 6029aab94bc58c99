"""Networks of TTFS layers, their windows and their file."""
