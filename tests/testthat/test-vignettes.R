vignette_file <- function(name) {
  file <- test_path("..", "..", "vignettes", name)
  skip_if_not(file.exists(file), "The vignettes' sources are not here")
  file
}

stored_results <- function(name) dget(vignette_file(paste0(name, "-results.txt")))

# What the script of a vignette finds now.
rerun <- function(name, ...) {
  script <- new.env(parent = globalenv())
  sys.source(vignette_file(paste0(name, "-results.R")), script)
  suppressMessages(get(gsub("-", "_", name), script)(...))
}

skip_unless_slow <- function() {
  skip_if_not(identical(Sys.getenv("SYFR_SLOW_TESTS"), "true"), "Slow: set SYFR_SLOW_TESTS=true")
}

test_that("stored results are of this version", {
  for (name in c("five-minutes", "three-hosts", "private-evaluation", "speed-and-precision")) {
    stored <- stored_results(name)
    expect_identical(stored$versions[["syfr"]], format(utils::packageVersion("syfr")), info = name)
    expect_match(stored$date, "^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")
  }
})

test_that("an error in a vignette has one comment in front of each line", {
  skip_if_not_installed("knitr")
  knitted <- tempfile(fileext = ".md")
  code <- c("knitr::knit(commandArgs(TRUE)[1], commandArgs(TRUE)[2], quiet = TRUE)", "cat('knitted\\n')")
  place <- tempfile("knitting")
  dir.create(place)
  session <- r_session(code, c(normalizePath(vignette_file("secret-sharing.Rmd")), knitted), wd = place)
  read_until(session, "^knitted", seconds = 100)
  lines <- readLines(knitted)
  expect_match(lines, "^#> Error", all = FALSE)
  expect_no_match(lines, "#>.*#>")
})

test_that("the five minutes give what their vignette shows", {
  skip_without_keras()
  local_deadline(300)
  stored <- stored_results("five-minutes")
  found <- rerun("five-minutes")
  expect_identical(names(found), names(stored))
  expect_identical(max.col(found$logits) - 1L, stored$actual)
  expect_equal(found$logits, stored$logits, tolerance = 0.01)
  expect_equal(found$plain, stored$plain, tolerance = 1e-3)
  expect_identical(found$query, stored$query)
  expect_identical(lapply(found$held, dim), lapply(stored$held, dim))
})

test_that("three hosts do what their vignette shows", {
  skip_without_keras()
  skip_if_not_installed("processx")
  skip_unless_slow()
  local_deadline(300)
  stored <- stored_results("three-hosts")
  shown <- setdiff(names(stored), c("date", "versions"))
  expect_equal(rerun("three-hosts")[shown], stored[shown])
})

test_that("private evaluation opens what its vignette shows", {
  skip_without_keras()
  skip_unless_slow()
  local_deadline(300)
  stored <- stored_results("private-evaluation")
  found <- rerun("private-evaluation")
  expect_identical(found[c("printed", "plain")], stored[c("printed", "plain")])
  # Rounding is random: a digit that is hard to tell may be told otherwise.
  expect_lte(abs(found$opened - stored$opened), 2)
  expect_lte(sum(abs(found$confusion - stored$confusion)), 4)
  declared <- c("operation", "shape", "delays", "online_kb", "preprocessing_kb")
  expect_equal(found$costs[declared], stored$costs[declared])
})

test_that("the precision is what its vignette shows", {
  skip_without_keras()
  skip_unless_slow()
  local_deadline(300)
  stored <- stored_results("speed-and-precision")
  found <- rerun("speed-and-precision", stored$bench)
  expect_identical(found[c("outside", "too_large")], stored[c("outside", "too_large")])
  expect_lt(found$precision$largest, 0.005)
  expect_gte(found$precision$same_digit, 998)
  # Rounding is random, and falls on several neighbours.
  expect_gt(length(found$precision$repeated), 3)
  expect_lt(diff(range(as.numeric(names(found$precision$repeated)))), 64)
})

test_that("the vignettes run for real", {
  skip_without_keras()
  skip_if_not_installed("knitr")
  skip_unless_slow()
  local_deadline(600)
  local_variables(SYFR_VIGNETTES = "true")
  place <- tempfile("vignettes")
  dir.create(place)
  file.copy(list.files(dirname(vignette_file("five-minutes.Rmd")), full.names = TRUE), place)
  for (file in list.files(place, "\\.Rmd$", full.names = TRUE)) {
    # A session of its own: knitr changes its options and working directory.
    code <- c(
      "knitr::opts_chunk$set(error = FALSE)", "knitr::knit(commandArgs(TRUE), quiet = TRUE)", "cat('knitted\\n')"
    )
    knitting <- r_session(code, file, wd = place)
    read_until(knitting, "^knitted", seconds = 200)
    expect_ends_well(knitting)
  }
})
