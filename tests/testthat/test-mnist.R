sample_file <- function() system.file("extdata", "mnist-sample.npz", package = "syfr", mustWork = TRUE)

test_that("the sample has the first 1,000 test images, scaled", {
  test <- sy_mnist(sample_file())$test
  expect_identical(dim(test$x), c(1000L, 28L, 28L, 1L))
  expect_identical(test$y[1:3], c(7L, 2L, 1L))
  expect_identical(range(test$x), c(0, 1))
  # The bar of the seven: a row of bright pixels that runs from left to right, not from top to bottom.
  expect_true(all(test$x[1, 9, 7:21, 1] > 0.6))
  expect_true(all(test$x[1, 1:5, , 1] == 0))
})

test_that("a path is one text", {
  for (path in list(c("a", "b"), list(), "", NA, 3)) {
    expect_error(sy_mnist(path), "`path` is not a single text. Give the path of an mnist.npz.$", class = "syfr_error_type")
  }
})

test_that("training images that are not there are an error with a remedy", {
  mnist <- sy_mnist(sample_file())
  expect_error(mnist$train, "install_syfr\\(\\)|SYFR_MNIST", class = "syfr_error_type")
  expect_error(mnist[["train"]], class = "syfr_error_type")
  expect_identical(names(mnist), "test")
  expect_output(print(mnist), "\\$test  1000 images")
})

test_that("the file is the argument, or what SYFR_MNIST names, or Keras's, or the sample", {
  old <- Sys.getenv(c("SYFR_MNIST", "KERAS_HOME"), NA)
  on.exit(for (name in names(old)) {
    if (is.na(old[[name]])) Sys.unsetenv(name) else do.call(Sys.setenv, as.list(old[name]))
  })
  Sys.setenv(SYFR_MNIST = "named.npz")
  expect_identical(find_mnist(), "named.npz")
  expect_error(sy_mnist(), "There is no file named.npz", class = "syfr_error_type")

  Sys.unsetenv("SYFR_MNIST")
  home <- tempfile("keras")
  Sys.setenv(KERAS_HOME = home)
  dir.create(file.path(home, "datasets"), recursive = TRUE)
  own <- file.path(home, "datasets", "mnist.npz")
  file.create(own)
  expect_identical(find_mnist(), own)
})

test_that("a file that is no .npz is named", {
  path <- tempfile(fileext = ".npz")
  writeLines("no zip", path)
  expect_error(sy_mnist(path), "is not an .npz file", class = "syfr_error_type")
  expect_error(sy_mnist(1), "Give the path", class = "syfr_error_type")
})

test_that("arrays are read as NumPy wrote them", {
  skip_without_python()
  local_deadline(300)
  np <- reticulate::import("numpy", convert = FALSE)
  path <- tempfile(fileext = ".npz")
  numbers <- np$arange(24L)$reshape(2L, 3L, 4L)
  np$savez(
    path,
    bytes = numbers$astype("uint8"), long = numbers$astype("int64"), int = numbers$astype("int32"),
    float = numbers$astype("float32"), double = numbers$astype("float64"), fortran = np$asfortranarray(numbers)
  )
  expected <- aperm(array(0:23, c(4, 3, 2)))
  for (array in read_npz(path)) expect_equal(array(as.integer(array), dim(array)), expected)
})
