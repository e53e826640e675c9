"""How far an atom is from what a training had, and the error of its force that goes with it."""
