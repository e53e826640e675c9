"""The structures of a plan: how like they are to the source's and to each other, and what they suffice for."""
