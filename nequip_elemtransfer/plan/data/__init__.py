"""What labelled structures suffice for, and whether they are clean; no model is needed."""
