logits <- rbind(c(0, log(2), log(5)), c(3, 1, 2))
prediction <- function(values = logits, head = "linear", classes = NULL) {
  new_prediction(values, list(head = head, classes = classes))
}

test_that("predictions are used as any matrix, and what comes of them is plain", {
  x <- prediction()
  expect_s3_class(x, c("syfr_prediction", "matrix", "array"), exact = TRUE)
  expect_true(is.matrix(x) && is.numeric(x))
  expect_identical(dim(x), c(2L, 3L))
  plain <- list(
    x + 1, 1 + x, x - logits, -x, x * x, exp(x), round(x), x %*% diag(3), x[1, ], x[, 2, drop = FALSE], t(x), as.matrix(x),
    as.array(x), cbind(x), apply(x, 1, max), rowSums(x), max.col(x), sweep(x, 2, 1:3), x > 1, c(x), x[[2, 1]]
  )
  same <- list(
    logits + 1, 1 + logits, logits - logits, -logits, logits^2, exp(logits), round(logits), logits %*% diag(3), logits[1, ],
    logits[, 2, drop = FALSE], t(logits), logits, logits, cbind(logits), apply(logits, 1, max), rowSums(logits),
    max.col(logits), sweep(logits, 2, 1:3), logits > 1, c(logits), logits[[2, 1]]
  )
  expect_identical(lapply(plain, unname), lapply(same, unname))
  expect_identical(which.max(x), which.max(logits))
  expect_identical(head(x, 1), logits[1, , drop = FALSE])
  x[1, 2] <- 7
  expect_identical(x[1, 2], 7)
  expect_identical(capture.output(print(prediction())), capture.output(print(logits)))
  volume <- new_prediction(array(1, c(1, 2, 2, 3)), list(head = "linear"))
  expect_identical(volume[1, , , ], array(1, c(2, 2, 3)))
  expect_error(as.data.frame(volume), "no classes", class = "syfr_error_shape")
})

test_that("a table of predictions has a label and a probability for each class", {
  table <- as.data.frame(prediction())
  expect_identical(table$row, rep(1:2, each = 3))
  expect_identical(table$label, rep(1:3, 2))
  expect_equal(table$probability[1:3], c(1, 2, 5) / 8)
  expect_equal(table$value, c(t(logits)))
  expect_identical(as.data.frame(prediction(), classes = 0:2)$label[1:3], c("0", "1", "2"))
  named <- prediction(classes = c("cat", "dog", "cow"))
  expect_identical(colnames(named), c("cat", "dog", "cow"))
  expect_identical(as.data.frame(named)$label[1:3], c("cat", "dog", "cow"))
  expect_identical(as.data.frame(named, classes = c("a", "b", "c"))$label[3], "c")
  expect_error(as.data.frame(named, classes = c("a", "b")), "3 outputs", class = "syfr_error_shape")
  expect_error(as.data.frame(named, classes = c("a", "b", "b")), class = "syfr_error_shape")
})

test_that("probabilities are those of the model, or the softmax of its logits", {
  expect_equal(rowSums(probabilities(prediction())), c(1, 1))
  expect_equal(probabilities(prediction(1000 + logits)), probabilities(prediction()))
  expect_identical(probabilities(prediction(head = "softmax")), logits)
  expect_true(is.na(probabilities(prediction(matrix(1)))))
  expect_identical(probabilities(prediction(matrix(0.25), "sigmoid")), matrix(0.25))
})

test_that("classes are factors, in the model's order", {
  expect_identical(most_probable(prediction(), NULL, NULL), factor(c(3, 1), levels = 1:3))
  expect_identical(most_probable(prediction(), letters[1:3], NULL), factor(c("c", "a"), levels = letters[1:3]))
  single <- prediction(matrix(c(0.2, 0.7)), "sigmoid")
  expect_identical(most_probable(single, NULL, NULL), factor(c(FALSE, TRUE), levels = c(FALSE, TRUE)))
  expect_identical(most_probable(single, c("no", "yes"), NULL), factor(c("no", "yes"), levels = c("no", "yes")))
  expect_error(most_probable(prediction(matrix(1)), NULL, NULL), "sigmoid", class = "syfr_error_shape")
})

test_that("a picture of a prediction shows the most probable classes", {
  pdf(NULL)
  on.exit(dev.off())
  shown <- expect_invisible(plot(prediction(), classes = c("cat", "dog", "cow")))
  expect_identical(shown$label, c("cat", "dog", "cow"))
  expect_identical(prediction_title(shown), "Most probable: cow (62.5%)")
  expect_identical(plot(prediction(), row = 2, most = 2)$label, c("1", "3"))
  expect_identical(percent(c(0, 1e-9, 0.5, 1)), c("0.0%", "< 0.1%", "50.0%", "100.0%"))
  expect_error(plot(prediction(), row = 3), "no row 3", class = "syfr_error_range")
  for (row in list(NA, 1:2, NULL, "1")) expect_error(plot(prediction(), row), "`row`", class = "syfr_error_type")
  for (most in list(NA, 0, -1, 1.5, 1:2, NULL)) {
    expect_error(plot(prediction(), most = most), "`most`", class = "syfr_error_type")
  }
  expect_length(plot(prediction(), most = Inf)$label, 3)
  expect_error(plot(prediction(matrix(1))), class = "syfr_error_shape")
  skip_if_not_installed("ggplot2")
  expect_s3_class(ggplot2::autoplot(prediction(), classes = c("cat", "dog", "cow")), "ggplot")
})

test_that("labels alone are whole numbers from 1, and names where they are known", {
  python <- array(c(2, 0, 1, 1), c(2, 2))
  labels <- prediction(python, "label")
  expect_identical(plain_array(labels), array(c(3L, 1L, 2L, 2L), c(2, 2)))
  table <- data.frame(row = c(1L, 1L, 2L, 2L), rank = c(1L, 2L, 1L, 2L), label = c(3L, 2L, 1L, 2L))
  expect_identical(as.data.frame(labels), table)
  named <- prediction(python, "label", c("cat", "dog", "cow"))
  expect_null(colnames(named))
  expect_identical(as.data.frame(named)$label, c("cow", "dog", "cat", "dog"))
  expect_identical(most_probable(named, NULL, NULL), factor(c("cow", "cat"), levels = c("cat", "dog", "cow")))
  expect_identical(most_probable(labels, NULL, NULL), factor(c(3, 1), levels = 1:3))
  expect_error(most_probable(labels, c("cat", "dog"), NULL), "class 3", class = "syfr_error_shape")
  expect_error(plot(labels), "labels only", class = "syfr_error_type")
})

test_that("several outputs are a list, each with its own head", {
  several <- new_prediction(list(a = logits, b = matrix(0)), list(heads = list("linear", "label")))
  expect_identical(names(several), c("a", "b"))
  expect_s3_class(several$a, "syfr_prediction")
  expect_identical(several$b[1, 1], 1L)
})
