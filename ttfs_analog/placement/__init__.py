"""A network on transistors: put there, its neurons, what a campaign asks of them."""
