"""Training sets: classical Stillinger-Weber and EMT structures and the public mlearn DFT structures.

``stillinger_weber``, ``emt`` and ``mlearn`` make labelled structures; ``split`` divides them into
train, validation and test parts; ``files`` writes the parts as extxyz. Units are ASE's:
Å, eV, eV/Å, and eV/Å³ for the stress, which is positive under tension.
"""

DEFAULT_SIZES = (5, 10, 25)  # structures in the small training sets
