"""The exact TTFS neuron in torch."""
