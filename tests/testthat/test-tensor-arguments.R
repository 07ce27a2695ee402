# What is refused of private tensors before anything runs, and what base R must not do to them.

test_that("the range of a tensor is two numbers, the smaller first", {
  expect_error(sy_tensor(1:3, range = c(5, 1)), "`range` goes from 5 to 1", class = "syfr_error_range")
  expect_error(sy_tensor(1:3, range = c(NA, 1)), "`range` is not two numbers", class = "syfr_error_type")
  expect_identical(sy_tensor(1, range = c(1, 1))$range, c(1, 1))
})

test_that("arguments that sharing does not have are named", {
  skip_without_python()
  cluster <- test_cluster()
  type <- "syfr_error_type"
  expect_error(
    sy_share(sy_tensor(1:3), cluster, reveal = "aggregate", min_row = 100),
    "`min_row` is not an argument of sy_share\\(\\) for tensors. See \\?sy_tensor", class = type
  )
  expect_error(sy_share(sy_tensor(1:3), cluster, range = c(0, 9)), "`range` is not an argument", class = type)
  expect_error(sy_share(1:3, cluster, foo = 1), "`foo` is not an argument", class = type)
  expect_error(sy_share(1:3, cluster, 1), "An argument without a name", class = type)
  expect_error(sy_share(1:3, cluster, reveal = "all"), "`reveal` is none of \"owner\", \"aggregate\"", class = type)
  expect_identical(format(sy_share(1:3, cluster, range = c(0, 100))), "<private tensor, length 3, from 0 to 100>")
  expect_error(sy_share(c(TRUE, FALSE), cluster, range = c(5, 6)), "does not hold", class = "syfr_error")
  error <- tryCatch(sy_share(5000, cluster, min_rows = NA), error = identity)
  expect_match(conditionMessage(error), "`min_rows` is NA")
  expect_identical(deparse(conditionCall(error)), "sy_share(5000, cluster, min_rows = NA)")
})

test_that("a tensor has no names and no parts for base R to replace", {
  skip_without_python()
  v <- sy_share(c(2, 1, 3), test_cluster())
  type <- "syfr_error_type"
  expect_error(v[[1]] <- 9, "neither names nor parts", class = type)
  expect_error(names(v) <- c("a", "b", "c"), "x\\[i\\] <- value", class = type)
  expect_error(v$x <- 9, "neither names nor parts", class = type)
  expect_error(length(v) <- 2, "neither names nor parts", class = type)
  expect_null(names(v))
  expect_identical(unname(v), v)
  expect_identical(sy_get(v), c(2, 1, 3))
})

test_that("TRUE and FALSE stay what they are when such are put among them", {
  skip_without_python()
  l <- sy_share(c(TRUE, FALSE, TRUE), test_cluster())
  mixed <- number <- l
  l[1] <- FALSE
  number[1] <- 0
  mixed[2:3] <- c(TRUE, FALSE)
  expect_identical(
    sy_get(list(l, mixed, number)), list(c(FALSE, FALSE, TRUE), c(TRUE, TRUE, FALSE), c(0, 0, 1))
  )
})

test_that("sizes are whole numbers from 1 that hold the elements", {
  skip_without_python()
  x <- sy_share(1:6, test_cluster())
  shape <- "syfr_error_shape"
  expect_error(sy_reshape(x, c(-2, -3)), "no shape -2 x -3. Give whole numbers from 1", class = shape)
  expect_error(sy_reshape(x, c(1.5, 4)), "no shape 1.5 x 4", class = shape)
  for (size in list(c(NA, 6), c(Inf, 0), numeric(), 5, "6")) expect_error(sy_reshape(x, size), class = shape)
  expect_error(dim(x) <- c(4, 2), "no shape 4 x 2", class = shape)
})

test_that("a factor of labels has a level for each output of the model", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  x <- digits$x[1:20, , , ]
  labels <- digits$y[1:20]
  expect_lt(nlevels(factor(labels)), 10)
  for (metric in c("accuracy", "confusion")) {
    expect_error(
      sy_evaluate(test_model(), x, factor(labels), metric), "levels; the model tells 10 classes apart.*levels =",
      class = "syfr_error_shape"
    )
  }
})
