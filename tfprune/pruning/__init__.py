"""Masks, criteria, selection and the Keras wrapper that keeps pruned weights at zero."""
