"""The questions: each `.sql` file here, and in a store's own `queries/`, is one.

A file begins with comment lines that say what it answers, then its grain, parameters and columns:

    -- How a case's most attended patches spread over its slices.
    -- grain: one row per run, case, stain and slice
    -- param pct double = 5 [0, 100]: share of the case's patches, in percent
    -- columns: run_id, case_id, stain, slice_idx, top_patches
    -- shown: case_id, stain, slice_idx, top_patches

`-- shown` names the columns of the answer that people want, which must fit 80 letters; without it a table has all of
them. A parameter without a default must be given. `-- over: runs` says that the question is about runs, not about cases:
`selection` then holds every run that was named (all splits and seeds of an experiment) with the cases of all subsets.
`-- over: tests` says that it counts predictions: a case that several splits hold in test then stands in each of them.
`-- over: repeats` says that it pools too: over the split sets, splits and seeds of the experiment that are complete; and
`-- over: experiments` that it compares experiments, each pooled like that.
`-- needs: whole` says that it needs attention of every patch, and `-- needs: top` that of the most attended ones (as many
as its parameters `pct` or `top` say): of a run that knows attention of a part of the patches alone, the first is refused,
and the second answers as far as that part goes. All other questions about attention say which part is known.
`-- scores: yes` says that it can be asked by a score of patches in place of attention: the file of its name in `by_score/`
is then what is asked, with the score's name as its parameter `score`.
Parameters of the type `run` name the runs themselves, in place of `--run` and `--experiment`. `-- then:
module.function` names a function of `milstore.analysis` that turns the rows into what SQL cannot say well, `-- answer:
module.function` one that says the answer in sentences above a table, `-- told:
module.function` one that gives what must be told with them, and `-- report: module.function` one that writes `--format
report`. `-- internal: column` names the column that says which splits a row is of: of a prediction of new cases, the
experiment's own test then stands beside the answer.
"""

if __name__ != "milstore.queries":
    raise ImportError("import milstore.queries: the folder at the root is the same package")

from milstore.queries.loader import Parameter, Query, available, by_score, load, names_by_score, parse

__all__ = ["Parameter", "Query", "available", "by_score", "load", "names_by_score", "parse"]
