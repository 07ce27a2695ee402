test_that("describing a worker needs no Python and starts nothing", {
  worker <- sy_worker(" localhost:4000 ")
  expect_s3_class(worker, "syfr_worker")
  expect_identical(format(worker), "<worker localhost:4000, auto-managed>")
  expect_output(print(sy_worker("10.0.0.5:4000", auto_managed = FALSE)), "<worker 10.0.0.5:4000, started by hand>")
  expect_invisible(print(worker))
  expect_identical(sy_worker("[::1]:4000")$host, "[::1]:4000")
})

test_that("an address without a port, or a wrong one, is named", {
  for (host in list("localhost", "localhost:", "localhost:0", "localhost:65536", ":4000", NA, 4000, NULL)) {
    expect_error(sy_worker(host), "`host` must be an address", class = "syfr_error_type")
  }
  for (host in c("a b:4000", "http://localhost:4000", "::1:4520", "[::1]", "a:b:4000", "-a:4000", "[a b]:4000")) {
    expect_error(sy_worker(host), "`host` must be an address", class = "syfr_error_type")
  }
  expect_identical(sy_worker("my_host-1.example:4000")$host, "my_host-1.example:4000")
  error <- tryCatch(sy_cluster("localhost:4000", "", "x:1"), error = identity)
  expect_match(conditionMessage(error), "`w1` must be an address")
  expect_identical(conditionCall(error)[[1]], quote(sy_cluster))
  expect_error(sy_worker("localhost:4000", auto_managed = NA), "`auto_managed`", class = "syfr_error_type")
})
