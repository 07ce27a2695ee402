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
  expect_error(sy_worker("localhost:4000", auto_managed = NA), "`auto_managed`", class = "syfr_error_type")
})
