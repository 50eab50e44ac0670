"""Predicting: the models of an experiment answer for cases that none of them has seen, each model and their mean.

What they say is stored as runs of kind prediction. Torch is imported by what computes, not by what looks.
"""
