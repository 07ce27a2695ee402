test_that("errors have their own class, and that of all", {
  error <- tryCatch(stop_syfr(c("port_in_use", "worker", "error"), "Taken."), error = identity)
  expect_s3_class(error, c("syfr_error_port_in_use", "syfr_error_worker", "syfr_error", "error"), exact = FALSE)
  expect_identical(conditionMessage(error), "Taken.")
})

test_that("the caller's call is shown", {
  outer <- function() inner(sys.call())
  inner <- function(call) stop_syfr("type", "Wrong.", call)
  expect_identical(conditionCall(tryCatch(outer(), error = identity)), quote(outer()))
})

test_that("each error of Python has a class of its own in R, and those of its base classes", {
  skip_without_python()
  local_deadline(300)
  python <- python_module("
from syfr.errors import error_classes

def codes():
    return sorted(error_classes())

def boom(code):
    raise error_classes()[code]('This is wrong. Do that.')
")
  codes <- python$codes()
  expect_gt(length(codes), 10)
  for (code in setdiff(codes, "error")) {
    error <- tryCatch(call_python(NULL, python$boom, code), error = identity)
    expect_s3_class(error, paste0("syfr_error_", code))
    expect_s3_class(error, "syfr_error")
    expect_identical(conditionMessage(error), "This is wrong. Do that.")
  }
  expect_error(call_python(NULL, python$boom, "port_in_use"), class = "syfr_error_worker")
})

test_that("an NA is refused where Python would take it for something else, and named", {
  skip_without_python()
  python <- python_module("
def given(*args, **kwargs):
    return len(args) + len(kwargs)
")
  timeout <- dir <- NA
  known <- list(credentials = NA_character_)
  clients <- c("ann", NA)
  type <- "syfr_error_type"
  expect_error(call_python(NULL, python$given, 1, timeout), "^`timeout` is NA. Give a value.$", class = type)
  expect_error(call_python(NULL, python$given, model = NA_real_), "^`model` is NA.", class = type)
  expect_error(call_python(NULL, python$given, known$credentials), "`credentials` is NA", class = type)
  expect_error(call_python(NULL, python$given, as.list(clients)), "`clients` has NA in it. Give", class = type)
  options <- list(name = NA)
  expect_error(do.call(call_python, c(list(NULL, python$given, 1), options), quote = TRUE), "`name` is NA", class = type)
  expect_identical(call_python(NULL, python$given, array(NA_real_, 1), NULL, list(NULL, 10), c("a", "b")), 4L)
})

test_that("a package that is needed and not there is named", {
  error <- tryCatch(need_package("no.such.package", "This picture", NULL), error = identity)
  expect_s3_class(error, c("syfr_error_package", "syfr_error"))
  expect_identical(conditionMessage(error), paste(
    "This picture needs the R package no.such.package. Install it with install.packages(\"no.such.package\")."
  ))
  expect_silent(need_package("stats", "Everything", NULL))
})

test_that("each class is in the help", {
  skip_without_python()
  local_deadline(300)
  codes <- names(reticulate::import("syfr.errors")$error_classes())
  help <- tools::Rd_db("syfr")[["syfr_errors.Rd"]]
  text <- paste(as.character(help), collapse = "")
  listed <- regmatches(text, gregexpr("syfr_error_[a-z_]+", text))[[1]]
  expect_identical(setdiff(paste0("syfr_error_", setdiff(codes, "error")), listed), character())
})

test_that("other exceptions are named too", {
  skip_without_python()
  local_deadline(300)
  python <- python_module("
def boom():
    return {}['missing']
")
  error <- tryCatch(call_python(NULL, python$boom), error = identity)
  expect_s3_class(error, "syfr_error_python")
  expect_match(conditionMessage(error), "KeyError: 'missing'")
  expect_match(error$python_trace, "boom")
})
