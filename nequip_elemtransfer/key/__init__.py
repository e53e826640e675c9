"""The look-ups of the key in a NequIP config, and what is checked of the rest of it."""
