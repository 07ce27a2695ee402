# Pictures are tested by what is drawn where, not by pixels; each is also drawn once.

local_device <- function(envir = parent.frame()) {
  pdf(NULL)
  do.call(base::on.exit, list(quote(dev.off()), add = TRUE), envir = envir)
}

# ggplot2 computes a picture only when it is drawn.
expect_drawn <- function(picture) {
  expect_s3_class(picture, "ggplot")
  expect_silent(print(picture))
}

ink_of <- function(picture) 1 - grDevices::col2rgb(as.matrix(picture))[1, ] / 255

# How far the picture of a panel goes along with an image; of noise, chance gives up to 5 / sqrt(784) = 0.18.
likeness <- function(panel, image) cor(ink_of(panel$picture), c(image))

image_of <- function() sample_digits()$x[1, , , 1]

test_that("parties alone and but one hold noise, and all of them the image", {
  digit <- image_of()
  panels <- share_panels(sy_split(digit), NULL)
  expect_identical(vapply(panels, `[[`, "", "title"), c(
    "party 1", "party 2", "party 3", "parties 1 and 2", "parties 1 and 3", "parties 2 and 3", "all parties"
  ))
  expect_equal(likeness(panels[[7]], digit), 1, tolerance = 0.001)
  for (panel in panels[1:6]) expect_lt(abs(likeness(panel, digit)), 0.2)
  expect_identical(vapply(panels, `[[`, "", "note")[c(1, 4, 7)], c(
    "alone: noise", "together: noise", "together: the image"
  ))
  expect_length(share_panels(sy_split(digit, 2), NULL), 3)
  expect_identical(share_panels(sy_split(digit, 4), NULL)[[5]]$title, "all but party 4")
  expect_error(plot(sy_split(matrix(1:4, 2), 100)), "100 shares are too many", class = "syfr_error_range")
  expect_error(plot(sy_split(1:3)), "no image", class = "syfr_error_shape")
})

test_that("shares of images are drawn, in grey, in colour and of any range", {
  local_device()
  before <- par("mfrow", "mar", "oma")
  shares <- sy_split(image_of())
  expect_identical(expect_invisible(plot(shares)), shares)
  plot(sy_split(array(runif(48), c(4, 4, 3))))
  plot(sy_split(matrix(-3:4, 2), 2))
  expect_identical(par("mfrow", "mar", "oma"), before)
  skip_if_not_installed("ggplot2")
  expect_drawn(ggplot2::autoplot(shares))
})

a_query <- function(image) {
  held <- function(values) array(values, c(1, 28, 28, 1))
  noise <- function() held(runif(784))
  together <- held(image)
  structure(class = "syfr_query", list(
    seconds = 0.00212, rows = 1, bytes_sent = 9500, bytes_received = 200, delays = 4,
    held = list(
      server0 = noise(), server1 = noise(), server2 = noise(), `server0+server1` = together,
      `server0+server2` = together, `server1+server2` = together
    ),
    layers = data.frame(
      layer = c("first", "last"), operation = c("dense, relu", "dense"), output = c("5", "3"), weights = c(25, 18),
      products = c(20, 15), delays = c(4, 0), online_kb = c(0.14, 0), preprocessing_kb = c(0.3, 0.018)
    )
  ))
}

test_that("of an input, a worker holds noise and two hold all of it", {
  digit <- image_of()
  panels <- query_panels(a_query(digit), 1, NULL)
  expect_length(panels, 7)
  for (panel in panels[1:3]) expect_lt(abs(likeness(panel, digit)), 0.2)
  for (panel in panels[4:7]) expect_equal(likeness(panel, digit), 1, tolerance = 0.001)
  expect_identical(panels[[5]]$title, "server0 and server2")
  expect_error(query_panels(a_query(digit), 2, NULL), "no row 2", class = "syfr_error_range")
})

test_that("a query prints and is drawn", {
  local_device()
  query <- a_query(image_of())
  expect_identical(format(query), c(
    "<a query of 1 row, answered in 2.12 ms>",
    "  4 messages between workers, one after the other",
    "  client: 9.5 kB sent, 0.2 kB received",
    "  workers, a row: 0.1 kB exchanged, after 0.3 kB ahead of the query"
  ))
  expect_output(print(query), "2.12 ms")
  expect_identical(show_costs(c(0, 4, 76.392, 0.06, 1234.56)), c("0", "4", "76.4", "0.1", "1234.6"))
  expect_invisible(plot(query))
  expect_invisible(plot(query, "input"))
  expect_error(plot(query, "output"))
  for (row in list(NA, 1:2, NULL)) expect_error(plot(query, "input", row), "`row`", class = "syfr_error_type")
  skip_if_not_installed("ggplot2")
  expect_identical(ggplot2::autoplot(query)$data$cost[5], factor("kB a row, ahead of it", cost_kinds))
  expect_drawn(ggplot2::autoplot(query))
  expect_drawn(ggplot2::autoplot(query, "input"))
})

a_status <- function(running = c(TRUE, TRUE, TRUE)) {
  status <- data.frame(running = running, sessions = ifelse(running, 2L, NA_integer_))
  attr(status, "links") <- data.frame(
    from = c("server0", "server0", "server1"), to = c("server1", "server2", "server2"), kb = c(504.24, 105, NA)
  )
  status
}

test_that("a cluster's picture says who runs, in colour, mark and word", {
  cluster <- sy_cluster("localhost:4000", "localhost:4001", "localhost:4002")
  graph <- cluster_graph(cluster, a_status(c(TRUE, FALSE, TRUE)))
  expect_identical(graph$title, "1 of three workers does not answer")
  expect_identical(graph$nodes$note, c(
    "localhost:4000, running", "localhost:4001, does not answer", "localhost:4002, running",
    "shares and serves models", "2 open sessions"
  ))
  expect_identical(graph$nodes$mark[1:3], c("+", "x", "+"))
  expect_identical(graph$nodes$colour[1:3], c(ink$blue, ink$red, ink$blue))
  between <- graph$edges[graph$edges$width == 3, ]
  expect_identical(between$label, c("504.2 kB", "105.0 kB", ""))
  expect_identical(between$colour, c(ink$light, ink$blue, ink$light))
  expect_identical(cluster_graph(cluster, a_status())$title, "All three workers run")
  expect_identical(cluster_graph(cluster, a_status(rep(FALSE, 3)))$title, "None of the three workers answers")
  for (status in list(3, data.frame(), "running")) {
    expect_error(plot(cluster, status), "`status`.*sy_status", class = "syfr_error_type")
  }
})

test_that("a cluster is drawn, started or not", {
  skip_without_python()
  local_device()
  cluster <- sy_cluster("localhost:4000", "localhost:4001", "localhost:4002")
  expect_identical(expect_invisible(plot(cluster)), cluster)
  plot(cluster, a_status())
  skip_if_not_installed("ggplot2")
  expect_drawn(ggplot2::autoplot(cluster, a_status()))
  expect_drawn(ggplot2::autoplot(cluster))
})
