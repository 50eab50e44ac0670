"""Charts: each question's chart is a module of its name here, and in it a pure function `chart(frame, about)`.

`chart` takes the answer as a pandas data frame and gives an Altair chart; saving is somebody else's job. A module may
also have `prepare(frame, about)`, for what needs the store's files, such as pictures of patches.
"""

from importlib.resources import files

from milstore import queries


def charted() -> tuple[str, ...]:
    """Names of the questions that have a chart: a module here of the question's name. Imports none of them."""
    modules = {entry.name for entry in files("milstore.charts").iterdir()}
    return tuple(name for name in queries.loader.built_in_names() if f"{name.replace('-', '_')}.py" in modules)
