"""Circuit forms beside the B1 neuron: each with its equation, its cell, and its own closed form."""
