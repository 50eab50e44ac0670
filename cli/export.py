"""`milstore export`: what a store holds, as files that other tools read. Each subcommand is a module of its own."""

import typer

from milstore.cli.lazy import Entry, LazyGroup

EXPORTS = {
    "features": Entry("export_features", "Write features and coordinates of slides as other tools lay them out."),
    "anndata": Entry("export_anndata", "Write patches with features and attention as AnnData (.h5ad)."),
    "qupath": Entry(
        "export_qupath",
        "Write the patches of cases as tiles for QuPath, with attention as their colour and measurements: a GeoJSON a slide.",
    ),
    "slide-vectors": Entry(
        "export_slide_vectors", "Write a folder of slide-level vectors, as TRIDENT makes them, as one table."
    ),
}


class Exports(LazyGroup):
    """The group of what can be written."""

    entries = EXPORTS


app = typer.Typer(cls=Exports, rich_markup_mode=None, no_args_is_help=True, add_completion=False)


@app.callback()
def export() -> None:
    """Write features, attention and places as files that other tools read."""
