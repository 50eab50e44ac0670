"""milstore: database-backed analysis of multi-stain, hierarchical-attention MIL models on pathology slides."""

__version__ = "0.1.0"
