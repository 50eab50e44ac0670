"""Predicting new cases by the models of an experiment: each model, and their mean.

What they say is stored as runs of kind prediction. Torch is imported by what computes, not by what looks.
"""
