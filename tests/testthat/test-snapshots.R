# Pictures as they were when they were last looked at: every line, box and word that base graphics draw, in _snaps. Noise
# differs each time and is tested elsewhere. To take new ones, look at the pictures, then call testthat::snapshot_accept().

# Drawing commands differ a little between versions of R, and those of ggplot2 a lot.
snapshots_of <- "4.2"

expect_same_picture <- function(name, draw, height = 4) {
  file <- paste0(name, ".txt")
  # Else testthat would delete a snapshot that it has no use for.
  announce_snapshot_file(name = file)
  skip_if_not(startsWith(paste0(R.version$major, ".", R.version$minor), snapshots_of), "Snapshots of another R")
  page <- tempfile(fileext = ".pdf")
  pdf(page, width = 7, height = height, compress = FALSE)
  draw()
  dev.off()
  lines <- readLines(page, warn = FALSE)
  # What is drawn on the page is the first stream of the file.
  ends <- c(match("stream", lines), match("endstream", lines))
  commands <- tempfile(fileext = ".txt")
  writeLines(lines[seq(ends[1] + 1, ends[2] - 1)], commands)
  expect_snapshot_file(commands, file, compare = compare_file_text)
}

test_that("a cluster looks as it did", {
  status <- data.frame(running = c(TRUE, FALSE, TRUE), sessions = c(2L, NA, 2L))
  attr(status, "links") <- data.frame(
    from = c("server0", "server0", "server1"), to = c("server1", "server2", "server2"), kb = c(504.24, 105, NA)
  )
  cluster <- sy_cluster("localhost:4000", "localhost:4001", "localhost:4002")
  expect_same_picture("cluster", function() plot(cluster, status))
})

test_that("a prediction looks as it did", {
  prediction <- new_prediction(rbind(c(0, log(2), log(5))), list(head = "linear", classes = c("cat", "dog", "cow")))
  expect_same_picture("prediction", function() plot(prediction))
})

test_that("what a query costs looks as it did", {
  query <- structure(class = "syfr_query", list(
    seconds = 0.00212, rows = 1, bytes_sent = 9500, bytes_received = 200, delays = 4, held = NULL,
    layers = data.frame(
      layer = c("first", "last"), operation = c("dense, relu", "dense"), output = c("5", "3"), weights = c(25, 18),
      products = c(20, 15), delays = c(4, 0), online_kb = c(0.14, 0), preprocessing_kb = c(0.3, 0.018)
    )
  ))
  expect_same_picture("query", function() plot(query))
})

test_that("a trace looks as it did", {
  times <- data.frame(
    worker = rep(c("server0", "server1", "server2"), 2), part = 0L, step = rep(0:1, each = 3),
    layer = rep(c("conv2d", "dense"), each = 3), rows = 1L, sent = 3L, received = 1L, bytes_sent = 1500L,
    bytes_received = 500L, began_ms = c(0, 0.1, 0.2, 1, 1.1, 1.2), ms = c(1, 0.9, 0.3, 0.5, 0.4, 0.2), waited_ms = 0.1
  )
  trace <- new_trace(lapply(seq_len(6), function(i) as.list(times[i, ])))
  expect_same_picture("trace", function() plot(trace))
})

test_that("shares of an image stand where they did", {
  expect_same_picture("shares", function() plot(sy_split(matrix(0:15, 4))))
})
