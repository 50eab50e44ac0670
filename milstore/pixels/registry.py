"""The registry of sources of patch images. A line here is all that a new file in this folder needs."""

from milstore.plugins import Formats, Registry

BUILT_IN = {"image": "milstore.pixels.image_file:ImageFile"}
"""Module and class of each source of patch images, by name."""
ENTRY_POINTS = "milstore.pixels"
"""Group of the entry points by which installed packages offer others."""
PIXELS = Formats(
    registry=Registry(kind="format", built_in=BUILT_IN, group=ENTRY_POINTS), ways=(("size", "pixels"),), files="images"
)
