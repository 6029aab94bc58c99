"""The same draws over a grid of conditions."""
