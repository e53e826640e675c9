"""Labelled structures: files, labels, frames, checks."""
