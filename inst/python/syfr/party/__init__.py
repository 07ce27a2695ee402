"""The worker process: connections, roles, model store, preprocessing, executor. Knows neither Keras nor TensorFlow."""
