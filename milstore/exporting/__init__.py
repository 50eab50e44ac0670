"""Exporting: features, attention and places of patches as the files that other tools read."""
