"""Cubic crystals and molecules, and what an ASE calculator says of them: properties, simulations, labels."""
