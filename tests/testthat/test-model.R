test_that("a model is shared from a file and prints", {
  skip_without_keras()
  local_deadline(300)
  model <- test_model()
  expect_s3_class(model, "syfr_model")
  expect_output(print(model), "<shared model 'mnist-conv'>")
  expect_identical(sy_status(test_cluster())$models >= 1L, rep(TRUE, 3))
})

test_that("a Keras model is shared, served and stopped by its own name", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  dense <- keras$Sequential(list(
    keras$Input(shape = list(784L)), keras$layers$Dense(20L, activation = "relu"),
    keras$layers$Dense(10L, activation = "softmax")
  ), name = "dense")
  expect_error(sy_serve(dense), "Share it first", class = "syfr_error_not_shared")

  cluster <- test_cluster()
  expect_invisible(sy_share(dense, cluster))
  expect_identical(sy_serve(dense, block = FALSE)$name, "dense")
  client <- sy_client() |> client_connect_to_model(c(NA, 784), c(NA, 10), cluster)
  x <- matrix(runif(2 * 784), 2)
  answer <- client_query_model(client, x)
  expect_equal(as.matrix(answer), dense$predict(x, verbose = 0L), tolerance = 0.01)
  expect_equal(rowSums(answer), c(1, 1))
  # the same numbers as a data frame, as an array of Python's and as a tensor
  for (same in list(as.data.frame(x), reticulate::r_to_py(x), keras$ops$convert_to_tensor(x))) {
    expect_equal(as.matrix(client_query_model(client, same)), as.matrix(answer), tolerance = 0.01)
  }

  sy_stop(dense)
  expect_error(sy_serve(dense), class = "syfr_error_not_shared")
  expect_error(client_query_model(client, x), class = "syfr_error")
})

test_that("inputs of clients that are not trusted are lifted: three more messages, the same answers", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  dense <- keras$Sequential(list(
    keras$Input(shape = list(20L)), keras$layers$Dense(8L, activation = "relu"), keras$layers$Dense(3L)
  ), name = "lifted")
  cluster <- test_cluster()
  sy_share(dense, cluster, untrusted_clients = TRUE, input_range = c(-1, 1))
  sy_serve(dense, block = FALSE)
  client <- sy_client() |> client_connect_to_model(c(NA, 20), c(NA, 3), cluster)
  x <- matrix(runif(5 * 20, -1, 1), 5)
  expect_equal(as.matrix(client_query_model(client, x)), dense$predict(x, verbose = 0L), tolerance = 0.01)
  expect_equal(client_last_query(client)$delays, 4 + 3)
  sy_stop(dense)
})

test_that("serving ends at the limit, and opens again without sharing", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  client <- test_client(num_requests = 2)
  client_query_model_async(client, digits$x[1, , , ])
  client_query_model_async(client, digits$x[2, , , ])
  client_query_model_join(client)
  client_query_model_join(client)
  expect_error(client_query_model(client, digits$x[1, , , ]), class = "syfr_error_not_served")

  sy_serve(test_model(), num_requests = 1, block = FALSE)
  expect_length(client_query_model(client, digits$x[1, , , ]), 10)
  expect_error(client_query_model(client, digits$x[1, , , ]), class = "syfr_error_not_served")
})

test_that("sy_serve() waits for the last request and tells how many were served", {
  skip_without_keras()
  local_deadline(300)
  cluster <- test_cluster()
  model <- test_model()
  client <- r_session(args = cluster$hosts, c(
    "library(syfr)",
    "hosts <- commandArgs(TRUE)",
    "x <- sy_mnist(system.file('extdata', 'mnist-sample.npz', package = 'syfr'))$test$x",
    "client <- sy_client() |>",
    "  client_connect_to_model(c(1, 28, 28, 1), c(1, 10), sy_cluster(hosts[1], hosts[2], hosts[3]), 'mnist-conv')",
    "for (i in 1:3) cat(which.max(client_query_model(client, x[i, , , ])) - 1, '')",
    "cat('done\n')"
  ))
  expect_message(expect_invisible(sy_serve(model, num_requests = 3)), "served 3 of 3")
  said <- read_until(client, "done")
  expect_match(said, "7 2 1 done", all = FALSE)
})

test_that("what cannot be shared or served is named", {
  skip_without_keras()
  local_deadline(300)
  cluster <- test_cluster()
  keras <- reticulate::import("keras")
  layers <- keras$layers
  recurrent <- keras$Sequential(list(
    keras$Input(shape = list(4L, 3L, 1L)), layers$ConvLSTM1D(2L, 2L, name = "memory")
  ))
  expect_error(sy_share(recurrent, cluster), "memory", class = "syfr_error_unsupported_layer")
  expect_error(sy_share(keras, cluster), class = "syfr_error_type")
  expect_error(sy_share(NULL, cluster), "not a Keras model", class = "syfr_error_type")
  expect_error(sy_share(bundled_model(), cluster, names = "digits"), "`names` is not an argument", class = "syfr_error_type")
  expect_error(sy_share("no-such-file.h5", cluster), "no-such-file.h5", class = "syfr_error_type")
  expect_error(sy_share("", cluster), "no file \"\"", class = "syfr_error_type")
  empty <- tempfile(fileext = ".h5")
  file.create(empty)
  for (file in c(empty, tempdir(), test_path("test-model.R"))) {
    expect_error(sy_share(file, cluster), "`model`: .* is not a saved Keras model. Give", class = "syfr_error_type")
  }
  expect_error(sy_share(bundled_model(), 42), "`cluster`", class = "syfr_error_type")

  large <- keras$Sequential(list(
    keras$Input(shape = list(2L)), layers$Dense(1L, kernel_initializer = keras$initializers$Constant(1e9))
  ))
  expect_error(sy_share(large, cluster), class = "syfr_error_range_check")

  expect_error(sy_share(large, cluster, output = "best"), "`output`", class = "syfr_error_type")
  expect_error(sy_share(large, cluster, allow_unproven = NA), "`allow_unproven`", class = "syfr_error_type")
  expect_error(sy_serve(test_model(), num_requests = 0), "num_requests", class = "syfr_error")
  expect_error(sy_serve(test_model(), num_requests = 1.5), "num_requests", class = "syfr_error_type")
  expect_error(sy_serve(test_model(), block = "yes"), "`block`", class = "syfr_error_type")
  expect_error(sy_serve("model.h5"), "sy_share", class = "syfr_error_type")
})

test_that("shutting down the workers of a model ends them, and the model is shared no more", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  tiny <- keras$Sequential(list(keras$Input(shape = list(2L)), keras$layers$Dense(1L)))
  cluster <- sy_cluster_local()
  model <- suppressMessages(sy_share(tiny, cluster))
  pids <- sy_status(cluster)$pid
  sy_shutdown_workers(model)
  expect_gone(pids)
  expect_error(sy_serve(tiny), class = "syfr_error_not_shared")

  # Where the certificates go with the workers, and where they stay.
  for (cluster in list(sy_cluster_local(), do.call(sy_cluster, as.list(free_hosts())))) {
    model <- suppressMessages(sy_share(tiny, cluster))
    sy_serve(model, block = FALSE)
    client <- sy_client() |> client_connect_to_model(c(1, 2), c(1, 1), cluster)
    sy_stop(cluster)
    expect_output(print(summary(model)), "its cluster was stopped")
    expect_identical(summary(model)$serving, FALSE)
    expect_output(print(summary(client)), "client, connected")
    expect_invisible(sy_stop(model))
    expect_error(sy_serve(tiny), class = "syfr_error_not_shared")
  }
})

test_that("a model that was saved and read again says that its session has gone", {
  lost <- structure(list(python = NULL, name = "lost"), class = "syfr_model")
  expect_output(print(lost), "of an R session that has ended")
  expect_error(sy_serve(lost), "Share it first", class = "syfr_error_not_shared")
})

test_that("what goes wrong when a saved model is loaded is printed, also by Rscript", {
  skip_without_keras()
  local_deadline(300)
  # As an HDF5 file begins.
  broken <- tempfile(fileext = ".h5")
  writeBin(as.raw(c(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a, 0:99)), broken)
  code <- sprintf("library(syfr); sy_share('%s', sy_cluster_local())", broken)
  said <- suppressWarnings(system2(
    file.path(R.home("bin"), "Rscript"), c("-e", shQuote(code)),
    stdout = TRUE, stderr = TRUE, timeout = 120,
    env = paste0("R_LIBS=", paste(.libPaths(), collapse = .Platform$path.sep))
  ))
  expect_match(said, "Python raised", all = FALSE)
  expect_no_match(said, "TensorFlow|oneDNN|cuda")
})

test_that("clients get what the owner lets them have: labels, the best labels, names, few digits", {
  skip_without_keras()
  local_deadline(300)
  cluster <- test_cluster()
  digits <- sample_digits()
  x <- digits$x[1:3, , , ]
  serve <- function(shape, ..., name = "limited") {
    sy_share(bundled_model(), cluster, name = name, ...) |> sy_serve(block = FALSE)
    sy_client() |> client_connect_to_model(c(1, 28, 28, 1), shape, cluster, model = name)
  }
  client <- serve(c(1, 1), output = "label", classes = 0:9)
  expect_identical(as.array(client_query_model(client, x)), array(digits$y[1:3] + 1L, c(3, 1)))
  expect_identical(as.data.frame(client_query_model(client, x))$label, as.character(digits$y[1:3]))
  expect_identical(as.character(predict(client, x, type = "class")), as.character(digits$y[1:3]))
  unnamed <- serve(c(1, 1), output = "label", name = "unnamed")
  expect_identical(predict(unnamed, x, type = "class"), factor(digits$y[1:3] + 1, levels = 1:10))
  expect_error(predict(client, x, type = "prob"), "labels only", class = "syfr_error_type")
  expect_output(print(client), "labels alone, counted from 1")

  client <- serve(c(1, 3), output = "top_k", k = 3)
  best <- client_query_model(client, x)
  expect_identical(dim(best), c(3L, 3L))
  expect_identical(best[, 1], digits$y[1:3] + 1L)
  expect_identical(lengths(apply(best, 1, unique, simplify = FALSE)), rep(3L, 3))

  client <- serve(c(1, 10), classes = 0:9, digits = 2, precision = 12)
  logits <- client_query_model(client, x)
  expect_identical(colnames(logits), as.character(0:9))
  expect_identical(logits * 4, round(logits * 4))
  expect_output(print(client), "12 bits after the point")
})

test_that("a model of tokens takes whole numbers from 0", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  layers <- keras$layers
  words <- keras$Sequential(list(
    keras$Input(shape = list(6L)), layers$Embedding(40L, 4L), layers$Flatten(), layers$Dense(3L)
  ), name = "words")
  model <- suppressMessages(sy_share(words, test_cluster()))
  expect_output(print(model), "n x 6 -> n x 3")
  expect_output(print(model), "tokens, whole numbers from 0 to 39\n", fixed = TRUE)
  sy_serve(model, block = FALSE)
  client <- sy_client() |> client_connect_to_model(c(1, 6), c(1, 3), test_cluster(), model = "words")
  x <- matrix(c(0:9, 39L, 7L), 2, byrow = TRUE)
  expect_lt(max(abs(client_query_model(client, x) - words$predict(x, verbose = 0L))), 0.01)
  expect_lt(max(abs(client_query_model(client, 0:5) - words$predict(x[1, , drop = FALSE], verbose = 0L))), 0.01)
  expect_gt(client_last_query(client)$bytes_sent, 2 * 6 * 6 * 40)
  for (wrong in list(40, -1, 0.5)) {
    expect_error(client_query_model(client, c(1:5, wrong)), "from 0 to 39", class = "syfr_error_range")
  }
  expect_error(client_query_model(client, 1:5), class = "syfr_error_shape")
})

test_that("a model of several inputs and outputs takes and gives lists", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  a <- keras$Input(shape = list(4L), name = "a")
  b <- keras$Input(shape = list(3L), name = "b")
  both <- keras$layers$Dense(5L, activation = "relu")(keras$layers$concatenate(list(a, b)))
  ends <- list(keras$layers$Dense(2L, activation = "softmax")(both), keras$layers$Dense(1L)(both))
  model <- keras$Model(inputs = list(a, b), outputs = ends, name = "both")
  cluster <- test_cluster()
  shared <- sy_share(model, cluster)
  expect_output(print(shared), "n x 4, n x 3 -> n x 2, n x 1")
  sy_serve(shared, block = FALSE)
  client <- sy_client() |>
    client_connect_to_model(list(c(1, 4), c(1, 3)), list(c(1, 2), c(1, 1)), cluster)
  x <- list(a = matrix(runif(8), 2), b = matrix(runif(6), 2))
  plain <- model$predict(unname(x), verbose = 0L)
  for (given in list(x, unname(x))) {
    answer <- lapply(client_query_model(client, given), as.matrix)
    expect_identical(lapply(answer, dim), lapply(plain, dim))
    expect_lt(max(abs(unlist(answer) - unlist(plain))), 0.005)
  }
  expect_error(client_query_model(client, x$a), class = "syfr_error_type")
  expect_error(predict(client, x, type = "class"), "several outputs", class = "syfr_error_shape")
  sy_stop(shared)
})

test_that("ranges that cannot be proven are the owner's decision", {
  skip_without_keras()
  local_deadline(300)
  keras <- reticulate::import("keras")
  one <- function(...) keras$layers$Dense(..., kernel_initializer = keras$initializers$Constant(100))
  steep <- keras$Sequential(list(keras$Input(shape = list(200L)), one(1L)), name = "steep")
  few <- matrix(0, 3, 200)
  few[, 1] <- c(0, 0.5, 1)
  cluster <- test_cluster()
  expect_error(sy_share(steep, cluster), "calibrate", class = "syfr_error_range_check")
  expect_error(sy_share(steep, cluster, calibrate = few), class = "syfr_error")
  shared <- sy_share(steep, cluster, calibrate = few, allow_unproven = TRUE)
  expect_output(print(shared), "ranges +not proven")
  sy_stop(shared)
})
