"""Charts: each question's chart is a module of its name here, and in it a pure function `chart(frame, about)`.

`chart` takes the answer as a pandas data frame and gives an Altair chart; saving is somebody else's job. A module may
also have `prepare(frame, about)`, for what needs the store's files, such as pictures of patches.
"""
