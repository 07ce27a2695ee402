test_that("a summary prints its facts and tables", {
  made <- new_summary("thing", c(state = "well", `TLS identity` = "owner"))
  expect_identical(format(made), c("<thing>", "  state         well", "  TLS identity  owner"))
  expect_output(print(summary(sy_worker("localhost:4000"))), "address  localhost:4000")
  expect_output(print(summary(sy_client())), "<client, not connected>")
})

test_that("the summary of a cluster that is not started says so", {
  skip_without_python()
  cluster <- do.call(sy_cluster, as.list(free_hosts()))
  expect_output(print(summary(cluster)), "not started")
})

test_that("summaries tell how workers, model and client are", {
  skip_without_keras()
  local_deadline(300)
  client <- test_client(num_requests = 3)
  client_query_model(client, sample_digits()$x[1, , , ])
  said <- summary(test_model())
  expect_identical(said[c("name", "serving", "served", "left")], list(
    name = "mnist-conv", serving = TRUE, served = 1, left = 2
  ))
  expect_identical(sum(said$layers$delays), 12)
  expect_output(print(said), "requests +1 served, 2 left")
  expect_output(print(said), "precision +fixed point")
  expect_output(print(said), "TLS identity +owner of cluster [0-9a-f]{8}, until 20")

  expect_output(print(summary(test_cluster())), "3 of 3 workers run")
  expect_identical(summary(test_cluster())$status$running, rep(TRUE, 3))
  links <- attr(sy_status(test_cluster()), "links")
  expect_true(all(links$kb > 0))

  told <- summary(client)
  expect_identical(told$layers, said$layers)
  expect_output(print(told), "TLS identity +client of cluster")
  addresses <- toString(test_cluster()$hosts)
  expect_output(print(told), paste("workers +", addresses))
  expect_output(print(client), paste("workers +", addresses))
  expect_output(print(client), "shapes +1 x 28 x 28 x 1 -> 1 x 10")

  sy_serve(test_model(), block = FALSE)
  expect_identical(summary(test_model())$left, Inf)
})

test_that("the status tells how many rows are prepared ahead", {
  skip_without_keras()
  local_deadline(300)
  client <- test_client()
  expect_true(sy_status(test_cluster())$sessions[1] > 0)
  repeat {
    if (all(sy_status(test_cluster())$prepared > 0)) break
    Sys.sleep(0.05)
  }
  client$python$disconnect()
  succeed()
})

test_that("predict() gives probabilities and classes, with the labels that are given", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  client <- test_client()
  x <- digits$x[1:4, , , ]
  classes <- predict(client, x, type = "class", classes = 0:9)
  expect_identical(as.integer(as.character(classes)), digits$y[1:4])
  prob <- predict(client, x, type = "prob", classes = 0:9)
  expect_identical(colnames(prob), as.character(0:9))
  expect_equal(rowSums(prob), rep(1, 4))
  expect_identical(max.col(prob) - 1L, digits$y[1:4])
  served <- sy_status(test_cluster())$served
  expect_error(predict(client, x, type = "class", classes = 0:8), "10 outputs", class = "syfr_error_shape")
  expect_error(predict(client, x, type = "label"), "should be one of")
  expect_identical(sy_status(test_cluster())$served, served)
})

test_that("the last query is a table of layers and what each worker held", {
  skip_without_keras()
  local_deadline(300)
  digit <- sample_digits()$x[1, , , ]
  client <- test_client()
  client_query_model(client, digit)
  query <- client_last_query(client)
  expect_s3_class(query, "syfr_query")
  expect_identical(sum(query$layers$delays), query$delays)
  expect_lt(max(abs(query$held$`server0+server2`[1, , , 1] - digit)), 2^-14)
  expect_lt(abs(cor(c(query$held$server2), c(digit))), 5 / 28)
  for (worker in c("server0", "server1")) expect_identical(query$held[[worker]], query$seen[[worker]])
})
