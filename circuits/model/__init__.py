"""The neuron on paper: layers, spike times, operating points, and the one equation."""
