test_that("rows become arrays of doubles, whatever R has", {
  expect_identical(as_rows(1:3), array(c(1, 2, 3)))
  expect_identical(as_rows(c(TRUE, NA)), array(c(1, NA)))
  expect_identical(as_rows(matrix(1:4, 2)), matrix(c(1, 2, 3, 4), 2))
  expect_identical(as_rows(data.frame(a = 1:2, b = 3:4)), matrix(c(1, 2, 3, 4), 2, dimnames = list(NULL, c("a", "b"))))
  expect_identical(as_rows("a"), "a")
  expect_identical(as_rows(list(a = 1:2, b = matrix(3L))), list(a = array(c(1, 2)), b = matrix(3)))
})

test_that("an open batch is NA or NULL", {
  expect_identical(as_shape(c(1, 28, 28, 1)), c(1, 28, 28, 1))
  expect_identical(as_shape(c(NA, 10)), list(NULL, 10))
  expect_identical(as_shape(list(NULL, 10)), list(NULL, 10))
  expect_identical(as_shape(list(NA, 10)), list(NULL, 10))
  expect_identical(as_shape(list(c(1, 28), c(NA, 3))), list(c(1, 28), list(NULL, 3)))
})
