"""ReLU networks into TTFS networks, exactly."""
