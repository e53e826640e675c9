"""Files of trained models, read as data."""
