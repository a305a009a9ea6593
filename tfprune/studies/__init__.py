"""Procedures made of data, models, pruning and training: the iterative prune-retrain loop."""
