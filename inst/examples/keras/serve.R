# Step 2 with R's keras package, in the words of the published workflow: serve three requests.

library(keras)
library(syfr)

sy$KerasHook(tensorflow::tf$keras)

# The batch is fixed to one image, which makes one image one request.
model <- keras_model_sequential() |>
  layer_conv_2d(filters = 16, kernel_size = c(3, 3), batch_input_shape = c(1, 28, 28, 1)) |>
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

load_model_weights_hdf5(model, "model.hdf5")

alice <- sy$TFEWorker(host = "localhost:4000", auto_managed = TRUE)
bob <- sy$TFEWorker(host = "localhost:4001", auto_managed = TRUE)
carol <- sy$TFEWorker(host = "localhost:4002", auto_managed = TRUE)
cluster <- sy$TFECluster(alice, bob, carol)
cluster$start()

model$share(cluster)

# sy_serve(model, num_requests = 3) waits in R and can be interrupted; this waits in Python and cannot.
model$serve(num_requests = 3L)

cluster$stop()
