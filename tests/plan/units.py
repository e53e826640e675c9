"""The units of a target that is the source in disguise."""

LENGTH, ENERGY, SHIFT = 1.07, 0.8, -3.0  # λ, α, and μ in eV
