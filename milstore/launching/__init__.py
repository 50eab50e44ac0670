"""Launching: the splits of an experiment trained side by side, as jobs of SLURM or as processes of this machine.

A launch is a folder below the store's `logs/`: what is to be trained, who was asked to, how far each split is, and the
logs. Torch and submitit are imported by what trains and submits, not by what looks.
"""
