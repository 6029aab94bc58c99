"""Circuits of ideal current sources and capacitors."""
