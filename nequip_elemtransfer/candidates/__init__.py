"""Structures of a target before any label exists: what might be computed, made from a source's structures."""
