"""Charts on the store of three cases: title, panels, marks, which field lies on which channel, from where to where, and its words."""

from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts import charted
from tests.drawing import of_three

PARTS = ("layer", "concat", "hconcat", "vconcat", "spec")
ELSEWHERE = ("true_class", "stain", "outcome")
"""Fields whose colours and shapes are the same everywhere: `tests/test_chart_specs.py` asserts them."""
Panel = tuple[str, str, dict[str, Any]]


def panels(spec: Any, head: str = "", inherited: dict[str, Any] | None = None) -> Iterator[Panel]:
    """Head, mark and encoding of everything that is drawn; heads and encodings reach down."""
    title = spec.get("title")
    head = words(title.get("text") if isinstance(title, dict) else title) or head
    encoding = {**(inherited or {}), **spec.get("encoding", {})}
    if "mark" in spec:
        yield head, spec["mark"]["type"], encoding
    for name in PARTS:
        parts = spec.get(name, [])
        for part in parts if isinstance(parts, list) else [parts]:
            yield from panels(part, head, encoding)


def words(value: Any) -> str:
    return " / ".join(value) if isinstance(value, list) else value or ""


def channel(name: str, of: dict[str, Any]) -> str:
    """A channel: its field or value, and its scale."""
    field = of.get("field", of.get("datum", of.get("value")))
    scale = {} if field in ELSEWHERE and name in ("color", "shape") else of.get("scale") or {}
    domain, targets = scale.get("domain", []), scale.get("range", [])
    if targets and isinstance(domain[0], str):
        of_each = ", ".join(f"{value} {target}" for value, target in zip(domain, targets, strict=True))
    else:
        ends = [f"{value:g}" if isinstance(value, (int, float)) else value for value in domain]
        of_each = " to ".join(ends) if len(ends) == 2 else ", ".join(ends)
        of_each += f" as {targets[0]} to {targets[-1]}" if targets else ""
    kind = f" {scale['type']}" if "type" in scale else ""
    return f"{name}={field}{kind}" + (f" ({of_each})" if of_each else "")


def described(spec: dict[str, Any]) -> str:
    """A chart in lines."""
    title = words(spec["title"]["text"])
    found = list(panels(spec))
    lines = [title]
    if heads := [head for head in dict.fromkeys(head for head, _, _ in found) if head != title]:
        lines.append("panels: " + "; ".join(heads))
    lines += dict.fromkeys(
        f"{mark}: " + ", ".join(channel(name, of) for name, of in encoding.items() if name not in ("tooltip", "key"))
        for _, mark, encoding in found
    )
    for name in ("x", "y", "color", "size", "opacity"):
        titles = [words(encoding[name].get("title")) for _, _, encoding in found if name in encoding]
        if any(titles):
            lines.append(f"{name} says: " + "; ".join(filter(None, dict.fromkeys(titles))))
    return "\n".join(lines)


EXPECTED = {
    "attention-distribution": """
        How a case's effective attention spreads over its patches · case 10
        line: color=words (this case #4B5563, an even spread #6B7280), strokeDash=words (this case [1, 0], an even spread [5, 4]), x=k log (1 to 10), y=share (0 to 1)
        circle: x=k log (1 to 10), y=share (0 to 1)
        rule: x=k log (1 to 10), x2=k2, y=share (0 to 1)
        point: x=k log (1 to 10), y=share (0 to 1)
        text: text=words, x=k log (1 to 10), y=share (0 to 1)
        x says: most attended patches (log scale)
        y says: share of the case's attention that they hold
    """,
    "compare-runs": """
        Do two runs look at the same patches?
        panels: Spearman's ρ; Jaccard of the / top 5%; Jensen–Shannon / (bits); difference in p
        rule: x=spearman_low (0 to 1), x2=spearman_high, y=pair
        point: x=spearman (0 to 1), y=pair
        rule: x=jaccard_low (0 to 1), x2=jaccard_high, y=pair
        point: x=jaccard (0 to 1), y=pair
        rule: x=js_divergence_low (0 to 1), x2=js_divergence_high, y=pair
        point: x=js_divergence (0 to 1), y=pair
        rule: x=p_distance_low (0 to 1), x2=p_distance_high, y=pair
        point: x=p_distance (0 to 1), y=pair
    """,
    "concentration": """
        Does a model err more where its attention is concentrated?
        panels: top 1; top 2; top 3; top 4; top 5%
        text: text=panel, x=96, y=line
        rule: x=zero
        rule: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=low (-1 to 1), x2=high, y=line
        point: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=rho (-1 to 1), y=line
        text: text=who, x=0, y=line
        text: text=words, x=66, y=line
        point: color=true_class, shape=outcome, x=attention (0 to 1), y=error (0 to 1)
        x says: Spearman's ρ with the error; attention they hold
        y says: error, 1 − p(true class)
        color says: true class
    """,
    "confusion": """
        Which class is taken for which, in each split and over all?
        rect: color=share (0 to 1 as #F3F4F6 to #374151), x=pred_class, y=true_class
        rect: x=pred_class, y=true_class
        text: color=#111111, text=cases, x=pred_class, y=true_class
        text: color=#111111, text=percent, x=pred_class, y=true_class
        x says: predicted class
        y says: true class
        color says: share of the true class
    """,
    "coverage": """
        Which patches exist, which could training see, and which did evaluation / use?
        panels: patches that a training epoch could see; patches that evaluation used
        point: x=existing log (2.4 to 12.5), y=trained_share (0 to 1.04)
        point: x=existing log (2.4 to 12.5), y=evaluated_share (0 to 1.04)
        x says: patches of the case (log scale)
        y says: share of them
    """,
    "deviation": """
        How far is each case's predicted probability from its label?
        panels: benign: 1 of 2 called wrong; high-grade: 0 of 1 called wrong
        rule: x=threshold
        rule: color=true_class, opacity=0.55, x=probability (0 to 1), x2=label_value, y=row
        point: color=true_class, opacity=1, shape=outcome, x=probability (0 to 1), y=row
        x says: predicted probability of high-grade
        color says: true class
    """,
    "experiments": """
        Which experiment is better, and is that more than chance?
        panels: recall of benign; recall of high-grade; accuracy; balanced accuracy; AUC
        rule: color=#0072B2, x=low, x2=high, y=experiment
        point: color=#0072B2, x=value (0 to 1), y=experiment
        point: x=value (0 to 1), y=experiment
        tick: x=mean (0 to 1), y=experiment
        text: text=words, x=width, y=experiment
        rule: color=#D55E00, x=low, x2=high, y=experiment
        point: color=#D55E00, x=value (0 to 1), y=experiment
        rule: color=#6B7280, x=low, x2=high, y=experiment
        point: color=#6B7280, x=value (0 to 1), y=experiment
        x says: recall of benign (%); recall of high-grade (%); accuracy (%); balanced accuracy (%); AUC
    """,
    "entropy": """
        How sparse is attention, and at which level?
        panels: The cases
        point: color=true_class, shape=outcome, x=place (-0.75 to 9.55), y=value (0 to 1)
        rule: x=place (-0.75 to 9.55), y=lower, y2=upper
        point: x=place, y=middle
        point: color=true_class, shape=outcome, x=effective_patches log, y=error (0 to 1)
        bar: color=level (stain #1F2937, slice #6B7280, patch #D1D5DB), order=order, x=part, y=row
        tick: x=max_entropy, y=row
        x says: effective patches, 1 / Σp² (log scale); entropy of effective attention, nats (tick: ln of all patches, an even spread)
        y says: entropy, share of its maximum; error, 1 − p(true class)
        color says: true class
    """,
    "level-correlation": """
        Which level decides what is attended to: patch, slice or stain?
        rule: y=0
        point: color=true_class, shape=outcome, x=place (-0.75 to 6.95), y=value (-1 to 1)
        rule: x=place (-0.75 to 6.95), y=lower, y2=upper
        point: x=place, y=middle
        y says: Pearson's r with effective attention; Spearman's ρ with effective attention
        color says: true class
    """,
    "loss-curves": """
        How did each training go, and which epoch was kept?
        rule: x=epoch
        text: text=learning_rate, x=epoch, y=-2
        line: color=subset (training, with dropout #9CA3AF, validation #111827), x=epoch, y=loss
        point: x=epoch, y=val_loss
        x says: epoch
        y says: loss (nats)
        color says: mean loss over cases
    """,
    "misclassified": """
        Which cases are called wrong, and what do they look like?
        panels: predicted; patches; slices; stains missing; top 5%
        rule: x=threshold
        rule: color=true_class, x=p_true (0 to 1), x2=0.5, y=row
        point: color=true_class, shape=outcome, x=p_true (0 to 1), y=row
        point: x=p_true (0 to 1), y=row
        text: text=predicted, x=0, y=row
        text: text=patches, x=0, y=row
        text: text=slices, x=0, y=row
        text: text=stains missing, x=0, y=row
        text: text=top 5%, x=0, y=row
        x says: probability of the true class
        y says: case
        color says: true class
    """,
    "near-threshold": """
        Which calls were close, and could as well have gone the other way? / · margin 0.5
        panels: predicted; patches; slices; stains missing; top 5%
        rule: x=threshold
        rule: color=true_class, x=p_true (0 to 1), x2=0.5, y=row
        point: color=true_class, shape=outcome, x=p_true (0 to 1), y=row
        point: x=p_true (0 to 1), y=row
        text: text=predicted, x=0, y=row
        text: text=patches, x=0, y=row
        text: text=slices, x=0, y=row
        text: text=stains missing, x=0, y=row
        text: text=top 5%, x=0, y=row
        x says: probability of the true class
        y says: case
        color says: true class
    """,
    "patch-count": """
        Does a model err more on cases of few patches?
        panels: top 5%; all patches
        text: text=panel, x=96, y=line
        rule: x=zero
        rule: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=low (-1 to 1), x2=high, y=line
        point: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=rho (-1 to 1), y=line
        text: text=who, x=0, y=line
        text: text=words, x=66, y=line
        point: color=true_class, shape=outcome, x=patches, y=error (0 to 1)
        x says: Spearman's ρ with the error; patches of the case
        y says: error, 1 − p(true class)
        color says: true class
    """,
    "patch-gallery": """
        What the most and the least attended patches of a case look like · case / 10
        panels: most attended; least attended
        square: color=stain, x=column (-38 to 610), y=line (-38 to 90)
        square: x=column (-38 to 610), y=line (-38 to 90)
        text: text=problem, x=column (-38 to 610), y=line (-38 to 90)
        image: url=picture, x=column (-38 to 610), y=line (-38 to 90)
        text: text=first, x=column (-38 to 610), y=line (-38 to 90)
        text: text=second, x=column (-38 to 610), y=line (-38 to 90)
        text: text=third, x=column (-38 to 610), y=line (-38 to 90)
        color says: stain
    """,
    "patch-profile": """
        How attention runs over the patches of one slice · case 10
        bar: x=left (-0.92 to 3.92), x2=right, y=patch_attention (0 to 0.55), y2=zero
        rule: strokeDash=words (even share [1, 0], twice the even share [5, 4]), y=level
        text: text=patch_idx, x=patch_idx, y=patch_attention
        x says: patch (number in its file's name)
        y says: patch attention (sums to 1 in the slice)
    """,
    "provenance": """
        Where do each run's numbers come from: its split, seed, job, checkpoint / and data?
        rect: color=#F3F4F6, x=field, y=run
        rect: x=field, y=run
        text: color=#111111, text=text, x=field, y=run
    """,
    "recall": """
        How many cases of each class are recognised, and how sure is that?
        panels: recall of benign; recall of high-grade; accuracy; balanced accuracy; AUC
        rule: color=#0072B2, x=low, x2=high, y=scope
        point: color=#0072B2, x=value (0 to 1), y=scope
        point: x=value (0 to 1), y=scope
        text: text=words, x=width, y=scope
        rule: color=#D55E00, x=low, x2=high, y=scope
        point: color=#D55E00, x=value (0 to 1), y=scope
        rule: color=#6B7280, x=low, x2=high, y=scope
        point: color=#6B7280, x=value (0 to 1), y=scope
        x says: recall of benign (%); recall of high-grade (%); accuracy (%); balanced accuracy (%); AUC
    """,
    "roc": """
        How well do the probabilities tell the classes apart?
        panels: area under the curve
        line: x=x, y=y
        text: text=words, x=x, y=y
        line: color=curve (pooled #111827), opacity=1, order=place, strokeWidth=1.5, x=false_positive_rate (0 to 1), y=true_positive_rate (0 to 1)
        rule: color=curve (pooled #111827), x=low, x2=high, y=curve
        point: color=curve (pooled #111827), x=auc (0.5 to 1), y=curve
        point: x=auc (0.5 to 1), y=curve
        text: text=words, x=width, y=curve
        x says: others taken for high-grade (false positives); AUC
        y says: high-grade found (true positives)
    """,
    "regions": """
        Which annotated regions attention falls in
        rule: y=even
        point: color=true_class, shape=outcome, x=place (-0.75 to 6.95), y=value log
        rule: x=place (-0.75 to 6.95), y=lower, y2=upper
        point: x=place, y=middle
        y says: share of attention over share of patches (log scale)
        color says: true class
    """,
    "selected-slices": """
        Which slices weigh most in their case, over all cases
        bar: color=stain, x=effective_attention (0 to 1.32), y=name
        tick: x=even, y=name
        text: text=words, x=end, y=name
        point: shape=outcome, x=8, y=name
        text: text=class_words, x=20, y=name
        x says: effective attention of the slice
        color says: stain
    """,
    "slice-attention": """
        How a stain's weight divides over its slices, and how much of it the top / slice takes
        panels: h&e; melan; sox10
        line: x=n, y=even
        point: color=true_class, shape=outcome, x=jitter (0.5 to 2.5), y=top_share (0 to 1.02)
        x says: slices of the stain
        y says: slice attention of the top slice
        color says: true class
    """,
    "slice-map": """
        Where on its slices a case's attention lies · case 10
        panels: h&e · match_1; h&e · match_2; sox10 · match_1
        rect: x=x (0 to 192), x2=x2, y=y (77.8378 to 0), y2=y2
        rect: color=shade (-1 to 1), fillOpacity=shade (-1 to 1 as 0.12 to 0.9), x=x (0 to 192), x2=x2, y=y (77.8378 to 0), y2=y2
        rect: x=x (0 to 256), x2=x2, y=y (77.8378 to 0), y2=y2
        rect: color=shade (-1 to 1), fillOpacity=shade (-1 to 1 as 0.12 to 0.9), x=x (0 to 256), x2=x2, y=y (77.8378 to 0), y2=y2
        color says: times the even share of the case (log scale; 1 is even, and 0.1 or less the palest)
    """,
    "slice-pattern": """
        Whether a slice's attention is a spike, a region or diffuse, and whether / that goes with the outcome
        panels: h&e; melan; sox10
        bar: color=pattern (spike #1F2937, region #7C3AED, diffuse #CBD5E1, too few #F1F5F9), order=order, x=share (0 to 1), y=name
        text: color=#111827, text=words, x=middle, y=name
        rule: x=x
        rule: y=y
        point: color=pattern (spike #1F2937, region #7C3AED, diffuse #CBD5E1, too few #F1F5F9), shape=pattern (spike triangle-up, region square, diffuse circle, too few cross), x=concentration (0 to 1.02), y=peak_share (0 to 1.02)
        x says: share of the slices; share of the attention; effective patches / patches
        color says: pattern
    """,
    "slice-spread": """
        Does attention take its top patches from a few slices or from many, and / does that go with the error?
        panels: slices touched; relative spread
        text: text=panel, x=96, y=line
        rule: x=zero
        rule: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=low (-1 to 1), x2=high, y=line
        point: color=who (benign #0072B2, high-grade #D55E00, pooled #111827), x=rho (-1 to 1), y=line
        text: text=who, x=0, y=line
        text: text=words, x=66, y=line
        point: color=true_class, shape=outcome, x=ratio (0 to 1), y=error (0 to 1)
        rule: x=even
        point: color=true_class, shape=outcome, x=relative_spread (0 to 1), y=error (0 to 1)
        x says: Spearman's ρ with the error; slices with a top patch / slices; relative spread (ratio / expected ratio)
        y says: error, 1 − p(true class)
        color says: true class
    """,
    "split-balance": """
        How are the classes spread over training, validation and test in each / split?
        bar: color=true_class, x=start (0 to 1), x2=end, y=split
        bar: x=start (0 to 1), x2=end, y=split
        text: text=words, x=middle, y=split
        x says: share of its cases (%)
        color says: class
    """,
    "stain-attention": """
        How much each stain weighs in each case, and which stain leads how often
        panels: Weight of each stain; The stain of highest weight; benign (* called wrong); high-grade (* called wrong)
        point: color=true_class, shape=outcome, x=place (-0.75 to 6.95), y=value (0 to 1)
        rule: x=place (-0.75 to 6.95), y=lower, y2=upper
        point: x=place, y=middle
        rule: color=stain, x=low, x2=high, y=stain
        point: color=stain, x=share (0 to 1), y=stain
        text: text=words, x=138, y=stain
        bar: color=stain, order=order, x=stain_attention (0 to 1), y=case
        x says: cases it leads (95% interval); stain attention
        y says: stain attention
        color says: true class; stain
    """,
    "top-patch-list": """
        Which patches a case's attention goes to, or passes over, one by one
        panels: case 2; case 10; case 46
        bar: color=stain, x=effective_attention (0 to 0.35), y=patch
        text: text=words, x=effective_attention (0 to 0.35), y=patch
        bar: color=stain, x=stain_attention (0 to 1.45), y=patch
        text: text=stain_attention, x=stain_attention (0 to 1.45), y=patch
        bar: color=stain, x=slice_attention (0 to 1.45), y=patch
        text: text=slice_attention, x=slice_attention (0 to 1.45), y=patch
        bar: color=stain, x=patch_attention (0 to 1.45), y=patch
        text: text=patch_attention, x=patch_attention (0 to 1.45), y=patch
        bar: color=stain, x=effective_attention (0 to 0.7), y=patch
        text: text=words, x=effective_attention (0 to 0.7), y=patch
        x says: effective attention / (times the even share); stain / attention; × slice / attention; × patch / attention
        color says: stain
    """,
    "top-patches": """
        Which stains and slices a case's most attended patches come from
        panels: case 2; case 10; case 46
        bar: color=stain, x=count (0 to 1.3), y=row
        tick: x=even, y=row
        text: text=words, x=end, y=row
        bar: color=stain, x=held (0 to 0.3125), y=row
        text: text=percent, x=held (0 to 0.3125), y=row
        bar: color=stain, x=held (0 to 0.625), y=row
        text: text=percent, x=held (0 to 0.625), y=row
        x says: top patches (tick: in an even spread); attention they hold (of the case's)
        color says: stain
    """,
}
"""By question: the title, the heads of panels, each kind of mark with its channels, and the words of the axes."""


@pytest.mark.parametrize("name", charted())
def test_every_field_lies_on_its_channel(name: str) -> None:
    """Each chart draws the fields that its words promise, on the channels and scales that it has them on."""
    choice = Choice(cases=("10",)) if queries.load(name).wants_case else Choice()
    # The three cases are 0.2 from the threshold and more.
    values = {"margin": 0.5} if name == "near-threshold" else {}
    assert described(of_three(name, choice, **values).spec) == dedent(EXPECTED[name]).strip()
