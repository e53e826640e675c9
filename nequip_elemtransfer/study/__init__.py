"""A grid of ordinary ``nequip-train`` runs that compares starts, and the evaluation of the finished runs."""
