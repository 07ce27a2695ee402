"""From a Keras model to a Program and its weights, in the owner's session alone."""
