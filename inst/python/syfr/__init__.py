"""Private predictions with Keras models by secure multi-party computation."""
