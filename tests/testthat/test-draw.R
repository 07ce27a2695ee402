test_that("a page for drawing needs a client of a model of such images, and as many labels as outputs", {
  skip_if_not_installed("shiny")
  expect_error(sy_draw(sy_client()), class = "syfr_error_not_connected")
  expect_error(sy_draw(1), class = "syfr_error_type")
  for (port in list(-1, "a", NA, 70000, 1.5, 1:2)) {
    expect_error(sy_draw(sy_client(), port = port), "`port` is not a port", class = "syfr_error_type")
  }
  skip_without_keras()
  local_deadline(300)
  client <- test_client()
  expect_s3_class(draw_app(client, NULL, NULL), "shiny.appobj")
  expect_identical(check_drawable(client, NULL, NULL), seq_len(10) - 1)
  expect_error(check_drawable(client, c("a", "b"), NULL), "2 labels", class = "syfr_error_shape")
})

test_that("a drawing is answered with probabilities, and with what each worker holds of it", {
  skip_without_keras()
  local_deadline(300)
  client <- test_client()
  image <- sample_digits()$x[1, , , 1]
  # The page sends rows, as shades from 0 to 255.
  answer <- answer_drawing(client, round(255 * c(t(image))), as.character(0:9))
  expect_identical(which.max(answer$probabilities) - 1, sample_digits()$y[1] + 0)
  expect_equal(sum(unlist(answer$probabilities)), 1, tolerance = 1e-3)
  expect_identical(names(answer$views), c("server0", "server1", "server2"))
  expect_identical(lengths(answer$views, use.names = FALSE), rep(784L, 3))
  for (view in answer$views) expect_lt(abs(stats::cor(unlist(view), c(t(image)))), 0.25)
  expect_match(answer$note, "^Answered in [0-9]+ ms")
})
