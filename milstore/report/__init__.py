"""The report: everything about an experiment or a run on one page, or as markdown with pictures.

`plan` says what is asked and in which order, `answers` asks it, `overview` and `studies` are its two chapters that are
more than questions, `building` puts all together, and `webpage` and `markdown` write it down.
"""
