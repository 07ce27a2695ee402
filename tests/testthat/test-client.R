test_that("a client prints, connected or not, and needs no Python to be made", {
  client <- sy_client()
  expect_output(print(client), "<client, not connected>")
  expect_error(client_query_model(client, 1), "client_connect_to_model", class = "syfr_error_not_connected")
  expect_error(predict(client, 1), class = "syfr_error_not_connected")
  expect_error(client_query_model_async(client, 1), class = "syfr_error_not_connected")
  expect_error(client_query_model_join(client), class = "syfr_error_not_connected")
  expect_error(client_last_query(client), class = "syfr_error_not_connected")
  expect_error(client_query_model(1, 1), "sy_client", class = "syfr_error_type")
})

test_that("predictions are those of the model itself, in every way to ask", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  client <- test_client()
  expect_output(print(client), "1 x 28 x 28 x 1 -> 1 x 10")
  plain <- test_model()$keras$predict(digits$x[1:20, , , , drop = FALSE], verbose = 0L)

  one <- client_query_model(client, digits$x[1, , , , drop = FALSE])
  expect_true(is.numeric(one) && !is_python(one))
  expect_identical(dim(one), c(1L, 10L))
  expect_lt(max(abs(one - plain[1, ])), 0.01)

  # R drops axes; rows beyond the batch are several requests; predict() is the same.
  expect_lt(max(abs(client_query_model(client, digits$x[2, , , ]) - plain[2, ])), 0.01)
  expect_lt(max(abs(client_query_model(client, digits$x[1:20, , , ]) - plain)), 0.01)
  expect_lt(max(abs(predict(client, digits$x[1:3, , , ]) - plain[1:3, ])), 0.01)
  expect_equal(max.col(plain) - 1L, digits$y[1:20])

  client_query_model_async(client, digits$x[3, , , ]) |> client_query_model_async(digits$x[4, , , ])
  expect_lt(max(abs(client_query_model_join(client) - plain[3, ])), 0.01)
  expect_lt(max(abs(client_query_model_join(client) - plain[4, ])), 0.01)
  expect_error(client_query_model_join(client), "client_query_model_async", class = "syfr_error_not_connected")
})

test_that("the last query tells what it cost, and that no worker saw the input", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  client <- test_client()
  client_query_model(client, digits$x[1, , , ])
  query <- client_last_query(client)
  expect_identical(query$rows, 1)
  expect_identical(query$delays, 12)
  expect_gt(query$bytes_sent, 28 * 28 * 6)
  expect_identical(dim(query$seen$server0), c(1L, 28L, 28L, 1L))
  expect_lt(abs(cor(c(query$seen$server0), c(digits$x[1, , , ]))), 5 / 28)
  expect_length(query$seen$server2, 0)

  before <- query$seen$server0
  client_query_model(client, digits$x[1, , , ])
  expect_lt(abs(cor(c(client_last_query(client)$seen$server0), c(before))), 5 / 28)
})

test_that("a TFEWorker made in Python is a client too", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  test_client()
  client <- sy$TFEWorker()
  expect_error(client_query_model(client, digits$x[1, , , ]), class = "syfr_error_not_connected")
  client_connect_to_model(client, c(1, 28, 28, 1), c(1, 10), test_cluster(), model = "mnist-conv")
  expect_identical(which.max(client_query_model(client, digits$x[1, , , ])), 8L)
  expect_identical(which.max(client$query_model(digits$x[1, , , , drop = FALSE])), 8L)
  expect_error(client_query_model_async(client, digits$x[1, , , ]), "query_model_async", class = "syfr_error_type")
})

test_that("input that cannot be meant is refused, and the workers go on serving", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  client <- test_client()
  image <- digits$x[1, , , ]
  with <- function(value) replace(image, 100, value)
  expect_error(client_query_model(client, image[1:27, ]), "27, 28", class = "syfr_error_shape")
  expect_error(client_query_model(client, 1), class = "syfr_error_shape")
  expect_error(client_query_model(client, array(0, c(0, 28, 28, 1))), class = "syfr_error_shape")
  expect_error(client_query_model(client, "seven"), class = "syfr_error_type")
  expect_error(client_query_model(client, NULL), class = "syfr_error")
  expect_error(client_query_model(client, factor("seven")), class = "syfr_error")
  for (value in c(NA, NaN, Inf, -Inf, -0.1, 1.1, 255)) {
    expect_error(client_query_model(client, with(value)), class = "syfr_error_range")
  }
  integers <- array(0L, c(28, 28))
  expect_error(client_query_model(client, replace(integers, 1, NA)), "missing", class = "syfr_error_range")
  expect_error(client_query_model(client, image, timeout = -1), "timeout", class = "syfr_error_range")
  expect_length(client_query_model(client, image), 10)
})

test_that("connecting to what is not there is an error that says so", {
  skip_without_keras()
  local_deadline(300)
  test_client()
  cluster <- test_cluster()
  connect <- function(...) client_connect_to_model(sy_client(), ...)
  expect_error(connect(c(1, 28, 28, 3), c(1, 10), cluster), "28, 28, 1", class = "syfr_error_shape")
  expect_error(connect(28, c(1, 10), cluster), "input shape", class = "syfr_error_type")
  expect_error(connect("image", c(1, 10), cluster), "input shape", class = "syfr_error_type")
  expect_error(connect(c(1, 28, 28, 1), c(1, 10), cluster, model = "nobody"), "nobody", class = "syfr_error_not_shared")
  hosts <- free_hosts()
  nobody <- sy_cluster(hosts[1], hosts[2], hosts[3])
  expect_error(connect(c(1, 28, 28, 1), c(1, 10), nobody), class = "syfr_error_credentials")
  expect_error(
    client_connect_to_model(sy_client(file.path(tempdir(), "nothing")), c(1, 28, 28, 1), c(1, 10), cluster),
    class = "syfr_error_credentials"
  )
})
