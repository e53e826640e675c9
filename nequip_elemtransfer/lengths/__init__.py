"""The length scale λ: from radii, lattices or labels, and how a model is given it."""
