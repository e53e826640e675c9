"""A transfer: what is done, in order, and what is kept of it."""
