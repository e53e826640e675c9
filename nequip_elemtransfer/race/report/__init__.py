"""A race as text for the terminal, as a page, and as files."""
