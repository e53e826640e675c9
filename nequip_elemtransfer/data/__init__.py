"""Training sets: classical Stillinger-Weber and EMT structures and public DFT structures.

``stillinger_weber`` and ``emt`` make labelled structures, ``mlearn`` and ``nbmotaw`` get published ones
through ``published``; ``split`` divides them into train, validation and test parts; ``files`` writes
the parts as extxyz. Units are ASE's: Å, eV, eV/Å, and eV/Å³ for the stress, which is positive under tension.
"""

DEFAULT_SIZES = (5, 10, 25)  # structures in the small training sets
