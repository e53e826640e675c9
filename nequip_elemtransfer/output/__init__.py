"""What the commands write: files that appear complete or not at all, text tables, and pages."""
