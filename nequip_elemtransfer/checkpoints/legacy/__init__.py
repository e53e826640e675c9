"""Models of NequIP 0.5 and 0.6, written as current ones."""
