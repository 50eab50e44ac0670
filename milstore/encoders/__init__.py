"""From pixels to features: the built-in encoders."""
