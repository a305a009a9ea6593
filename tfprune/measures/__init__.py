"""What is measured on a model: each a function that leaves the model as it found it."""
