"""From pixels to features: hed, networks in folders, and classes of your own."""
