"""Numbers that the torch and the compiled form of `ttfs_analog.constraints.spike_times.normals` share.

Sources: Steele, Lea and Flood, OOPSLA 2014 (SplitMix64); Box and Muller, Ann. Math. Stat. 1958.
"""

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Step of the state and the two factors of its mixing."""
BLOCK = 256
"""Normal numbers of a block: the first ones of its pairs, then the second ones."""
LOG = (-2.1034264, 4.2211941, -3.6748647, 2.2523586, -0.86502169, 0.18717571, -0.017414083)
"""Coefficients of ln m, 1 <= m < 2, from the constant up: 1.5e-6 off at most."""
SINE, COSINE = (
    (1.0, -0.16666651, 0.0083320363, -0.00019503963),
    (1.0, -0.49999857, 0.041655021, -0.0013585827),
)
"""Coefficients of (sin y) / y and cos y in y^2, |y| <= pi/4: 3e-8 off at most."""
