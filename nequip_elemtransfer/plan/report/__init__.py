"""A plan as a page, as text for the terminal, and as files."""
