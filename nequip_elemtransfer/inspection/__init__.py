"""A trained model looked at: its card, its errors by kind of structure, and its start beside it."""
