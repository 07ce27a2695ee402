test_that("the Python package travels with the R package", {
  errors <- system.file("python", "syfr", "errors.py", package = "syfr")
  expect_true(file.exists(errors))
})
