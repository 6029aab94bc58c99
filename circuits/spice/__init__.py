"""Decks into ngspice, checked records out."""
