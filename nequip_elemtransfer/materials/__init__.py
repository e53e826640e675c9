"""Cubic crystals and the properties that an ASE calculator gives them, from the lattice constant to phonons."""
