"""What hardware does to an ideal network: jitter, clock, weight bits, latency."""
