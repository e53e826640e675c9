"""Which structures to compute next: those that differ most, to the source, from each other and from what there is."""
