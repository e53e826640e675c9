"""Trainings: their configs, the processes that do them, and what they log."""
