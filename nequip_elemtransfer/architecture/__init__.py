"""Configurations of NequIP's model builders: built, checked, and looked into."""
