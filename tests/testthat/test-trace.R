# A trace as Python gives it: a layer at each worker, after a lift, which has the highest number and comes first.
a_trace <- function() {
  step <- function(worker, step, layer, began, ms) {
    list(
      worker = worker, part = 0L, step = step, layer = layer, rows = 2L, sent = 3L, received = 1L, bytes_sent = 1500L,
      bytes_received = 500L, began_ms = began, ms = ms, waited_ms = ms / 2
    )
  }
  new_trace(list(
    step("server0", 5L, "lift", 0, 1), step("server0", 0L, "dense", 1, 2), step("server1", 5L, "lift", 0, 1.5),
    step("server1", 0L, "dense", 1.5, 0.5), step("server2", 0L, "dense", 2, 0.1)
  ))
}

test_that("a trace is a table, empty at first", {
  trace <- a_trace()
  expect_s3_class(trace, "data.frame")
  expect_identical(trace$sent_kb, rep(1.5, 5))
  expect_identical(trace$worker[3], "server1")
  expect_identical(dim(new_trace(list())), c(0L, 12L))
})

test_that("the picture of a trace has its layers in order, and a bar for each worker", {
  drawn <- drawn_trace(a_trace(), NULL)
  expect_identical(drawn$layers, c("lift", "dense"))
  expect_identical(drawn$kb, c(3, 4.5))
  expect_identical(drawn$title, "A query of 2 rows: 3 ms at the workers")
  dense <- drawn$times[drawn$times$place == 2, ]
  expect_identical(dense$end[dense$worker == "server1"], 2)
  expect_identical(order(dense$top), order(dense$worker))

  pdf(NULL)
  on.exit(dev.off())
  expect_identical(expect_invisible(plot(a_trace())), a_trace())
  expect_error(plot(new_trace(list())), "No query was traced", class = "syfr_error_not_served")
  skip_if_not_installed("ggplot2")
  expect_silent(print(ggplot2::autoplot(a_trace())))
})

test_that("the next query is traced when it was asked for", {
  skip_without_keras()
  local_deadline(300)
  client <- test_client()
  sy_trace(test_model())
  client_query_model(client, sample_digits()$x[1:2, , , ])
  # The dealer hears of the end of a query a moment later than the client.
  for (attempt in 1:50) {
    trace <- sy_trace(test_model())
    if (length(unique(trace$worker)) == 3) break
    Sys.sleep(0.05)
  }
  expect_identical(sort(unique(trace$worker)), roles)
  expect_true(all(trace$rows == 2))
  expect_gt(sum(trace$sent_kb), 100)
  expect_identical(sum(trace$layer == "dense"), 0L)
})
