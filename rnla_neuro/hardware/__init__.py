"""Neuromorphic platforms: their files, what fits on them, and what they do to a network."""
