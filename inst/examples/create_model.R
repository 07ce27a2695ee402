# Step 1, the owner of the model: train it with Keras, as ever, and save it as model.hdf5.
#
# Pooling by average, before ReLU: pooling is linear, so that the workers compute it together with the convolution, at
# no cost. The last layer has no softmax: the loss takes logits (from_logits = TRUE), and the numbers that a client gets
# are then the ones the workers have computed. (A softmax would do no harm; clients compute it for themselves.)

library(syfr)

keras <- reticulate::import("keras")
layer <- keras$layers

mnist <- sy_mnist()

model <- keras$Sequential(list(
  keras$Input(shape = list(28L, 28L, 1L)),
  layer$Conv2D(filters = 16L, kernel_size = 3L),
  layer$AveragePooling2D(pool_size = 2L),
  layer$Activation("relu"),
  layer$Conv2D(filters = 32L, kernel_size = 3L),
  layer$AveragePooling2D(pool_size = 2L),
  layer$Activation("relu"),
  layer$Conv2D(filters = 64L, kernel_size = 3L),
  layer$AveragePooling2D(pool_size = 2L),
  layer$Activation("relu"),
  layer$Flatten(),
  layer$Dense(units = 10L)
))

model$compile(
  optimizer = "adam",
  loss = keras$losses$SparseCategoricalCrossentropy(from_logits = TRUE),
  metrics = list("accuracy")
)

# as.array(): Python sees an R vector as a list, and an array as NumPy's.
model$fit(mnist$train$x, as.array(mnist$train$y), batch_size = 32L, epochs = 5L, verbose = 2L)

result <- model$evaluate(mnist$test$x, as.array(mnist$test$y), verbose = 0L)
cat("Accuracy on the test images:", result[[2]], "\n")

model$save("model.hdf5")
