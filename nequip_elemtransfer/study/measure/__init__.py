"""Evaluations of one trained model, or of the reference: properties, simulations, plans."""
