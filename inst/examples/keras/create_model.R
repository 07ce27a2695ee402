# Step 1 with R's keras package: train a model and save it as model.hdf5.
# Why it has average pooling before ReLU, and no softmax: see create_model.R in the folder above.

library(keras)

mnist <- syfr::sy_mnist()

model <- keras_model_sequential() |>
  layer_conv_2d(filters = 16, kernel_size = c(3, 3), input_shape = c(28, 28, 1)) |>
  layer_average_pooling_2d(pool_size = c(2, 2)) |>
  layer_activation("relu") |>
  layer_conv_2d(filters = 32, kernel_size = c(3, 3)) |>
  layer_average_pooling_2d(pool_size = c(2, 2)) |>
  layer_activation("relu") |>
  layer_conv_2d(filters = 64, kernel_size = c(3, 3)) |>
  layer_average_pooling_2d(pool_size = c(2, 2)) |>
  layer_activation("relu") |>
  layer_flatten() |>
  layer_dense(units = 10)

model |> compile(
  optimizer = "adam",
  loss = loss_sparse_categorical_crossentropy(from_logits = TRUE),
  metrics = "accuracy"
)

model |> fit(mnist$train$x, mnist$train$y, batch_size = 32, epochs = 5)

model |> save_model_hdf5("model.hdf5")
