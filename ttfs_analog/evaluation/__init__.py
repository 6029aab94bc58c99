"""Accuracy, yield, energy, and the way back to ngspice."""
