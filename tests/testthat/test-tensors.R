# Private tensors against base R: every operation on random and on edge values. Many are opened at once.

unit <- 2^-14
cluster_of_tensors <- function() {
  skip_without_python()
  test_cluster()
}

# Multiples of the unit, which fixed point holds exactly; the first row has edge values, the second equal ones.
values_like <- function(seed, ...) {
  set.seed(seed)
  found <- array(sample(-2^15:2^15, prod(...), TRUE) * unit, ...)
  if (length(dim(found)) == 2) {
    found[1, ] <- c(0, unit, -unit, 1, -1, 2, -2, 0.5)[seq_len(ncol(found))]
    found[2, ] <- 1.25
  }
  found
}

plain_x <- values_like(1, c(4, 6))
plain_y <- values_like(2, c(4, 6))
plain_y[3, ] <- plain_x[3, ]
column <- c(0.5, -1, 2, 0)

expect_operations <- function(expressions, plain, private, within = 0, envir = parent.frame()) {
  found <- sy_get(lapply(expressions, eval, private, envir))
  wanted <- lapply(expressions, eval, c(plain, plain_functions), envir)
  for (i in seq_along(expressions)) {
    expect_identical(dim(found[[i]]), dim(wanted[[i]]), label = deparse(expressions[[i]]))
    expect_identical(length(found[[i]]), length(wanted[[i]]), label = deparse(expressions[[i]]))
    expect_lte(max(abs(found[[i]] - wanted[[i]])), within, label = deparse(expressions[[i]]))
    expect_identical(is.logical(found[[i]]), is.logical(wanted[[i]]), label = deparse(expressions[[i]]))
  }
}

# What the functions of our own are in base R.
plain_functions <- list(
  sy_pmax = pmax, sy_pmin = pmin, sy_ifelse = ifelse, sy_relu = function(x) pmax(x, 0),
  sy_reshape = function(x, size) if (length(size) > 1) array(x, size) else as.vector(x),
  sy_sort = function(x, axis, decreasing) t(apply(x, 1, sort, decreasing = decreasing)),
  sy_max = function(x, axis) apply(x, axis %% 2 + 1, max), sy_min = function(x, axis) apply(x, axis %% 2 + 1, min),
  sy_argmax = function(x, axis = NULL) if (is.null(axis)) which.max(x) else apply(x, axis %% 2 + 1, which.max) + 0,
  sy_argmin = function(x, axis = NULL) if (is.null(axis)) which.min(x) else apply(x, axis %% 2 + 1, which.min) + 0
)

test_that("sums, comparisons and the like are those of base R, exactly", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  expect_operations(
    expression(
      x + y, x - y, -x, +x, 1 - x, x + 0.25, 3 * x, x + column, column - x, y + plain_y, x - c(1, 0.5),
      x > y, x >= y, x < y, x <= y, 0 < x, x >= column, !(x > y), x > y & x > 0, x > y | y < 0, x > 0 & TRUE,
      sum(x), sum(x, 1, y), sum(x > y), rowSums(x), colSums(x), max(x), min(x), max(x, 3), range(x),
      any(x > 1.9), all(x < 3), all(x > y), any(x > 5), abs(x), sign(x), sy_relu(x), sy_pmax(x, y), sy_pmin(x, 0),
      sy_max(x, axis = 2), sy_min(x, axis = 1), sy_argmax(x, axis = 2), sy_argmin(x, axis = 1),
      sy_argmax(x), sy_argmin(x)
    ),
    list(x = plain_x, y = plain_y), list(x = sy_share(plain_x, cluster), y = sy_share(plain_y, cluster))
  )
})

test_that("products are those of base R, nearly", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  vector <- column
  expect_operations(
    expression(
      x * y, x * x, 0.37 * x, x / 7, x * column, x * plain_y, x / c(2, 4, 3, 5), x^1, x^2, x^3,
      mean(x), rowMeans(x), colMeans(y), x %*% t(y), x %*% t(plain_y), t(plain_x) %*% y, crossprod(x), crossprod(x, y),
      crossprod(plain_x, y), tcrossprod(x, y),
      tcrossprod(x), v %*% x, x %*% 1:6, v %*% v, vector %*% v, crossprod(v), v %*% t(v), sy_ifelse(x > y, x, y),
      sy_ifelse(x > y, 1, 0), sy_ifelse(x > 0, column, y)
    ),
    list(x = plain_x, y = plain_y, v = vector),
    list(x = sy_share(plain_x, cluster), y = sy_share(plain_y, cluster), v = sy_share(vector, cluster)),
    within = 32 * unit
  )
})

test_that("sorting is that of base R, nearly", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  x <- sy_share(plain_x, cluster)
  expect_operations(
    expression(sy_sort(x, axis = 2, decreasing = TRUE), sort(v), sort(x[, 1], decreasing = TRUE)),
    list(x = plain_x, v = column), list(x = x, v = sy_share(column, cluster)),
    within = 2 * unit
  )
  best <- sy_get(sy_top_k(x[c(1, 3), ], k = 2))
  expect_equal(best$places, t(apply(plain_x[c(1, 3), ], 1, order, decreasing = TRUE)[1:2, ]))
  expect_equal(best$values, t(apply(plain_x[c(1, 3), ], 1, sort, decreasing = TRUE)[1:2, ]), tolerance = 1e-4)
})

test_that("functions are those of base R, within the errors of their help page", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  x <- sy_tensor(seq(-1, 1, length.out = 9), range = c(-1, 1)) |> sy_share(cluster)
  p <- sy_tensor(c(1, 1.5, 2, 7.25, 16), range = c(1, 16)) |> sy_share(cluster)
  plain <- list(x = seq(-1, 1, length.out = 9), p = c(1, 1.5, 2, 7.25, 16))
  plain_softmax <- function(x) exp(x) / sum(exp(x))
  sigmoid <- function(x) 1 / (1 + exp(-x))
  found <- sy_get(list(
    exp(x), log(p), log(p, 2), log2(p), log10(p), sqrt(p), 1 / p, 3 / p, x[1:5] / p,
    sy_sigmoid(x), tanh(x), sy_softmax(x)
  ))
  x <- plain$x
  p <- plain$p
  wanted <- list(
    exp(x), log(p), log(p, 2), log2(p), log10(p), sqrt(p), 1 / p, 3 / p, x[1:5] / p,
    sigmoid(x), tanh(x), plain_softmax(x)
  )
  errors <- mapply(function(one, other) max(abs(one - other)), found, wanted)
  allowed <- c(2e-4, 3e-4, 5e-4, 5e-4, 2e-4, 3e-3, 2e-4, 7e-4, 3e-4, 5e-3, 5e-3, 0.02)
  expect_true(all(errors <= allowed), label = paste(signif(errors, 2), collapse = " "))
})

test_that("a convolution is a sum of products of windows", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  images <- values_like(4, c(2, 4, 5, 2))
  kernel <- values_like(5, c(2, 3, 2, 3))
  plain <- array(0, c(2, 3, 3, 3))
  for (row in 1:2) for (i in 1:3) for (j in 1:3) for (out in 1:3) {
    plain[row, i, j, out] <- sum(images[row, i + 0:1, j + 0:2, ] * kernel[, , , out])
  }
  x <- sy_share(images, cluster)
  found <- sy_get(list(sy_conv2d(x, sy_share(kernel, cluster)), sy_conv2d(x, kernel, stride = 2)))
  expect_lte(max(abs(found[[1]] - plain)), 2 * unit)
  expect_lte(max(abs(found[[2]] - plain[, c(1, 3), c(1, 3), ])), 2 * unit)
  expect_error(sy_conv2d(x, kernel[, , 1, ]), class = "syfr_error_shape")
  expect_error(sy_conv2d(images, kernel), "not a private tensor", class = "syfr_error_type")
})

test_that("equality has a margin of eight units", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  x <- sy_share(c(1, 2, 3), cluster)
  found <- sy_get(list(x == c(1, 2 + 9 * unit, 3 - 9 * unit), x != 2, x == 3, 1 == x, x == x))
  expect_identical(
    found, list(c(TRUE, FALSE, FALSE), c(TRUE, FALSE, TRUE), c(FALSE, FALSE, TRUE), c(TRUE, FALSE, FALSE), rep(TRUE, 3))
  )
})

test_that("elements move as base R moves them", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  keep <- c(TRUE, FALSE, TRUE, TRUE)
  assign_to <- function(x, value) {
    x[2, ] <- value
    x[x_places] <- c(-1, 1)
    x
  }
  x_places <- cbind(c(1, 4), c(2, 3))
  renew <- function(x) {
    dim(x) <- c(3, 8)
    x
  }
  expect_operations(
    expression(
      x[2, 3], x[2, ], x[, 3], x[, 3, drop = FALSE], x[-1, c(1, 1, 6)], x[5], x[c(3, 24)], x[keep, ], x[x_places], x[], x[[2, 3]],
      t(x), aperm(x), sy_reshape(x, c(8, 3)), sy_reshape(x, 24), sy_reshape(x, c(2, 2, 6)), renew(x), c(x, v), c(v, 1),
      cbind(x, v), cbind(1, x, y), cbind(v, v), rbind(x, 1:6), rbind(v, 0), rev(v), rep(v, 2), v[2:3], !v,
      v | FALSE, t(v), v[-1],
      a[1, , 2], a[, , 3], aperm(a, c(2, 3, 1)), sy_reshape(a, c(4, 6)), a + v[1:2], rowSums(a), colSums(a, dims = 2),
      rowSums(a, dims = 2), colMeans(4 * a), assign_to(x, 7), assign_to(x, x[1, ]), assign_to(x, 1:6), (x > y)[2, ],
      cbind(x > y, y > x), sy_argmax(a[1, , ], axis = 1), rep_len(1, 4) + v
    ),
    list(x = plain_x, y = plain_y, v = column, a = values_like(3, c(2, 3, 4))),
    list(
      x = sy_share(plain_x, cluster), y = sy_share(plain_y, cluster), v = sy_share(column, cluster),
      a = sy_share(values_like(3, c(2, 3, 4)), cluster)
    )
  )
})

test_that("dimensions are those of an array", {
  cluster <- cluster_of_tensors()
  x <- sy_share(plain_x, cluster)
  expect_identical(dim(x), c(4L, 6L))
  expect_identical(c(nrow(x), ncol(x), length(x)), c(4L, 6L, 24L))
  expect_null(dim(sy_share(column, cluster)))
  expect_identical(sy_get(sy_share(data.frame(a = 1:2, b = 3:4), cluster)), matrix(c(1, 2, 3, 4), 2))
  expect_identical(sy_get(sy_share(c(TRUE, FALSE), cluster)), c(TRUE, FALSE))
  # Each opening ends its own session at the workers, which allow sixteen at a time.
  for (i in 1:17) expect_identical(sy_get(x[[1, 2]]), plain_x[1, 2])
  expect_identical(sy_get(list(a = sum(x), b = x[1, 1]))$b, plain_x[1, 1])
})

test_that("what does not fit is refused", {
  cluster <- cluster_of_tensors()
  local_deadline(200)
  x <- sy_share(plain_x, cluster)
  v <- sy_share(column, cluster)
  shape <- "syfr_error_shape"
  expect_error(x + t(x), "4 x 6 and 6 x 4", class = shape)
  expect_error(x + 1:5, "length 5", class = shape)
  expect_error(v + 1:3, "whole number of times", class = shape)
  expect_error(x %*% x, "cannot be multiplied", class = shape)
  expect_error(cbind(x, t(x)), "same number of rows", class = shape)
  expect_error(sy_argmax(x, axis = 3), "`axis` is 3", class = shape)
  expect_error(sy_reshape(x, c(5, 5)), "25|5 x 5", class = shape)
  expect_error(x[5, 1])
  expect_error(v[5], "out of bounds", class = shape)
  expect_error(v[0], "Nothing is selected", class = shape)
  expect_error(v[6] <- 1, class = shape)
  expect_error(rowSums(v), "no matrix", class = shape)
  expect_error(sy_ifelse(v > 0, x, 1), "more elements than `test`", class = shape)
  type <- "syfr_error_type"
  expect_error(x %% 2, "`%%` is not computed", class = type)
  expect_error(cumsum(v), "`cumsum` is not computed", class = type)
  expect_error(prod(v), "`prod` is not computed", class = type)
  expect_error(x / c(1, 0, 2, 3), "by zero", class = "syfr_error_range")
  expect_error(x^0.5, "whole powers", class = type)
  expect_error(2^x, "whole power", class = type)
  expect_error(x + "a", "numeric vector", class = type)
  expect_error(as.numeric(x), "sy_get", class = type)
  expect_error(if (v[1] > 0) TRUE)
  expect_error(sy_get(1), "not a private tensor", class = type)
  expect_error(sy_ifelse(TRUE, v, v), "`test` is not a private tensor", class = type)
  expect_error(sy_share("a", cluster), class = "syfr_error")
  expect_error(sy_share(c(1, NA), cluster), "missing", class = "syfr_error_range")
  expect_error(sy_share(x, cluster), class = "syfr_error")
  expect_error(sy_tensor(plain_x, range = 1), "two numbers", class = type)
  expect_error(sy_tensor(plain_x, range = c(0, 1)) |> sy_share(cluster), "does not hold", class = "syfr_error")
  expect_error((x * 1000) * (x * 1000), "can give numbers", class = "syfr_error_range_check")
})

test_that("printing opens nothing, and a tensor of another session says so", {
  cluster <- cluster_of_tensors()
  plain <- sy_tensor(plain_x, range = c(-2, 3))
  expect_output(print(plain), "<tensor to share, 4 x 6, from -2 to 3>", fixed = TRUE)
  x <- sy_share(plain, cluster)
  expect_output(print(x), "<private tensor, 4 x 6, from -2 to 3>", fixed = TRUE)
  expect_output(methods::show(x), "<private tensor, 4 x 6, from -2 to 3>", fixed = TRUE)
  expect_output(print(x[1, ] > 0), "<private tensor, length 6, TRUE and FALSE>", fixed = TRUE)
  expect_output(str(x), "private tensor")
  kept <- tempfile()
  saveRDS(x, kept)
  old <- readRDS(kept)
  expect_output(print(old), "has ended")
  expect_error(sy_get(old), class = "syfr_error_not_shared")
})

test_that("other objects are computed by base R as ever", {
  expect_identical(rowSums(plain_x), base::rowSums(plain_x))
  expect_identical(plain_x %*% t(plain_y), base::`%*%`(plain_x, t(plain_y)))
  expect_identical(crossprod(plain_x), base::crossprod(plain_x))
})

test_that("the published workflow opens one number, which is that of the plain model", {
  skip_without_keras()
  local_deadline(300)
  digits <- sample_digits()
  rows <- 1:40
  model <- test_model()
  cluster <- test_cluster()
  # A wrong label, which must be counted as one.
  labels <- digits$y[rows]
  labels[7] <- (labels[7] + 1) %% 10
  plain <- max.col(model$keras$predict(digits$x[rows, , , , drop = FALSE], verbose = 0L), "first") - 1

  data <- sy_tensor(digits$x[rows, , , ], range = c(0, 1)) |> sy_share(cluster)
  target <- sy_share(labels, cluster)
  pred <- sy_argmax(predict(model, data), axis = 2)
  correct <- sum(pred - 1 == target)
  expect_equal(sy_get(correct), sum(plain == labels))

  costs <- sy_explain(correct)
  expect_identical(summary(correct), costs)
  expect_identical(costs$operation[nrow(costs)], "all")
  # Two products that do not wait for each other share their delays.
  products <- sy_explain(data[1, 1, ] * data[1, 2, ] + data[2, 1, ] * data[2, 2, ])
  expect_lt(products$delays[nrow(products)], sum(products$delays[-nrow(products)]))
  expect_true(all(costs$online_kb >= 0) && any(costs$preprocessing_kb > 0))

  score <- suppressMessages(sy_evaluate(model, digits$x[rows, , , ], labels, batch = 25))
  expect_equal(score, mean(plain == labels))
  few <- factor(labels[1:10], 0:9)
  both <- suppressMessages(sy_evaluate(model, digits$x[1:10, , , ], few, c("accuracy", "confusion")))
  expect_equal(both$accuracy, mean(plain[1:10] == labels[1:10]))
  expect_equal(
    unclass(both$confusion), unclass(table(right = few, predicted = factor(plain[1:10], 0:9))),
    ignore_attr = TRUE
  )
  expect_error(sy_evaluate(model, digits$x[rows, , , ], labels, "beauty"), "beauty", class = "syfr_error_type")
  expect_error(predict(model, sy_share(plain_x, cluster)), class = "syfr_error_shape")
  expect_error(predict(model, digits$x), "not a private tensor", class = "syfr_error_type")
})

test_that("what was shared can be permitted to others, not what was computed", {
  cluster <- cluster_of_tensors()
  x <- sy_share(sy_tensor(column), cluster, reveal = "aggregate", min_rows = 3)
  expect_invisible(sy_permit(x, "client"))
  expect_error(sy_permit(x + 1, "client"), "that was shared", class = "syfr_error_type")
  expect_error(sy_share(sy_tensor(column), cluster, reveal = "all"), "`reveal`", class = "syfr_error_type")
})
