"""The networks of the studies, each a function that returns a functional Keras model."""
