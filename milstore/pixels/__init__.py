"""Images of patches: their sizes and their pixels, read safely."""
