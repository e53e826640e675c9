"""Training sets: classical Stillinger-Weber and EMT structures, molecules of GFN2-xTB and public DFT structures.

``stillinger_weber`` and ``emt`` make labelled structures through ``sampled``, ``xtb`` makes molecules, ``mlearn`` and
``nbmotaw`` get published structures through ``published``; ``split`` divides a set into train, validation and test
parts and writes them as extxyz. Units are ASE's: Å, eV, eV/Å, and eV/Å³ for the stress, which is positive under
tension.
"""
