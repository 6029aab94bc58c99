"""Numbers that the torch and the compiled form of `ttfs_analog.spike_times.normals` share.

Source of the generator: Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).
"""

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Step of the state and the two factors of its mixing."""
BINS, PLACES = 2048, 16
"""Bins of |normal|, of equal probability, and places in a bin: 11 and 4 of 16 bits, one is the sign."""
