"""Keras callbacks of the studies; each also works in a user's own `fit` on their own model."""
