"""Which device matters, what a larger one buys, how rare a failure is."""
