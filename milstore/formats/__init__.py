"""Readers of files that other tools write: one module per format."""
