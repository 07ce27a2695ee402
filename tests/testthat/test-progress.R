served <- function(done, of = NULL) list(event = "served", served = done, of = of)
answered <- function(done, of) list(event = "answered", rows = done, of = of)

# What a reporter of this style says of some events and of their end.
said_of <- function(style, events) {
  capture_messages({
    report <- new_reporter(style)
    for (event in events) {
      report$show(event)
      report$tick()
    }
    report$close()
  })
}

test_that("bars are for terminals, lines for scripts, and an option silences both", {
  old <- options(syfr.progress = NULL)
  on.exit(options(old))
  expect_identical(progress_style(), "lines")
  options(syfr.progress = FALSE)
  expect_identical(progress_style(), "none")
})

test_that("a few requests are told each, many now and then, and always the last", {
  expect_match(said_of("lines", lapply(1:3, served, of = 3L)), "served [123] of 3", all = TRUE)
  many <- said_of("lines", lapply(1:500, served, of = 500L))
  expect_lt(length(many), 15)
  expect_match(many[length(many)], "served 500 of 500")
  expect_match(said_of("lines", list(served(1L))), "served 1\n")
  expect_identical(said_of("none", lapply(1:3, served, of = 3L)), character())
})

test_that("an answer in one part is no progress, one in many is", {
  expect_identical(said_of("lines", list(answered(5L, 5L))), character())
  expect_identical(said_of("bar", list(answered(5L, 5L))), character())
  parts <- list(answered(256L, 1000L), answered(512L, 1000L), answered(1000L, 1000L))
  expect_match(said_of("lines", parts)[3], "answered 1,000 of 1,000")
  expect_match(said_of("bar", parts), "answered 1,000 of 1,000", all = FALSE)
})

test_that("sharing and starting are told", {
  events <- list(
    list(event = "worker_starting", worker = "server0", address = "localhost:1"),
    list(event = "worker_ready", worker = "server0", address = "localhost:1"),
    list(event = "sharing", name = "digits"), list(event = "shared", name = "digits")
  )
  said <- said_of("lines", events)
  expect_length(said, 2)
  expect_match(said[1], "server0 is ready at localhost:1")
  expect_match(said[2], "shared .*digits.* among the workers")
  expect_match(said_of("bar", events), "digits", all = FALSE)
  expect_identical(said_of("none", events), character())
})

test_that("preprocessing is told until it is done for the first time", {
  prepared <- function(rows, of) list(event = "prepared", rows = rows, of = of)
  said <- said_of("lines", list(prepared(8, 24), prepared(16, 24), prepared(24, 24), prepared(23, 24), prepared(24, 24)))
  expect_length(said, 1)
  expect_match(said, "prepared 24 of 24 rows for queries to come")
  expect_identical(said_of("lines", list(prepared(8, 24))), character())
  expect_identical(said_of("none", list(prepared(24, 24))), character())
  # Nothing is served that could show it.
  expect_identical(said_of("bar", list(prepared(24, 24))), character())
})

# In an R session of its own, which believes to have a terminal.
test_that("a bar is drawn and ends as a line, with and without a known end", {
  session <- r_session(c(
    "options(cli.dynamic = TRUE, cli.progress_show_after = 0, cli.num_colors = 1)",
    "draw <- function(events) {",
    "  report <- syfr:::new_reporter('bar')",
    "  for (event in events) { report$show(event); report$tick(); Sys.sleep(0.1) }",
    "  report$close()",
    "}",
    "serving <- function(of) list(event = 'serving', of = of)",
    "served <- function(n, of) list(event = 'served', served = n, of = of)",
    "prepared <- list(event = 'prepared', rows = 1000L, of = 2000L)",
    "draw(list(serving(3L), prepared, served(1L, 3L), served(2L, 3L)))",
    "draw(list(serving(NULL), served(7L, NULL)))",
    "draw(list(list(event = 'worker_starting', worker = 'server0')))",
    "by_hand <- list(event = 'manual_command', worker = 'server0', host = 'a', command = 'run this')",
    "draw(list(list(event = 'worker_starting', worker = 'server2'), by_hand))",
    "cat('\\nall drawn\\n')"
  ))
  said <- paste(read_until(session, "all drawn"), collapse = "\n")
  expect_match(said, "served .* 0 of 3 \\(prepared 1,000 of 2,000 rows\\)")
  expect_match(said, "served .* 1 of 3")
  expect_match(said, "served 2 of 3\n")
  expect_match(said, "served 7\n")
  expect_match(said, "Starting server0")
  expect_match(said, "Start server0 by hand on a:.*run this.*Waiting for workers that are started by hand")
  expect_ends_well(session)
})
