"""Charts of questions that are asked by a score in place of attention: each a module of the question's name, as in `charts`.

A score is a signed number of a patch: bars begin at 0 and go both ways, colours part there, and there is no share of it.
"""
