test_that("the configuration prints what is used, and ends in one line that says what to do", {
  skip_without_python()
  local_deadline(300)
  config <- sy_config()
  expect_s3_class(config, "syfr_config")
  expect_null(config$problem)
  expect_true(all(c("R", "syfr", "reticulate", "Python", "numpy", "numba") %in% names(config$versions)))
  expect_match(format(config)[length(format(config))], "^(All is ready|Ready for clients and workers)")
  expect_output(print(config), "numpy")

  config$problem <- "Something is missing. Call install_syfr(), then restart R."
  expect_identical(format(config)[length(format(config))], config$problem)
})

test_that("what pip is asked for fits the reticulate that is used", {
  files <- requirement_files(keras = TRUE)
  expect_identical(basename(files), c("requirements.txt", "requirements-keras.txt"))
  expect_identical(requirement_files(), files[1])
  old <- utils::packageVersion("reticulate") < "1.38"
  expect_identical(grepl("<2", numpy_requirement(), fixed = TRUE), old)
  expect_identical(install_method("conda", "any"), "conda")
  expect_identical(install_method("auto", "no-conda-environment-of-this-name"), "virtualenv")
})

test_that("what is going to be installed is told first, unless that is silenced", {
  expect_message(say_installing("r-syfr", TRUE), "Installing .*r-syfr.*TensorFlow, some 2 GB.*minutes")
  expect_no_match(capture_messages(say_installing("r-syfr", FALSE)), "TensorFlow")
  old <- options(syfr.progress = FALSE)
  on.exit(options(old))
  expect_silent(say_installing("r-syfr", TRUE))
})

test_that("the last line of installing says what a new session must do", {
  expect_identical(how_to_use("virtualenv", "r-syfr"), "Restart R and call library(syfr).")
  expect_match(how_to_use("virtualenv", "~/clients"), "use_virtualenv(\"~/clients\")", fixed = TRUE)
  expect_match(how_to_use("conda", "r-syfr"), "use_condaenv(\"r-syfr\")", fixed = TRUE)
})

test_that("versions of Python that will not do are told from those that will", {
  expect_identical(
    vapply(c("3.9.18", "3.10.0", "3.13.1", "3.14.0rc1", "2.7"), python_fits, NA, USE.NAMES = FALSE),
    c(FALSE, TRUE, TRUE, FALSE, FALSE)
  )
})

test_that("modules that a Python lacks are seen from outside", {
  skip_without_python()
  python <- reticulate::py_config()$python
  search_libraries_of(python)
  expect_true(has_modules(python, c("ssl", worker_modules)))
  expect_false(has_modules(python, c("ssl", "no_such_module")))
  expect_true(can_import(python, c("ssl", "json")))
})

test_that("a new environment is made, found by the next session, and runs workers", {
  skip_without_python()
  skip_if_not(identical(Sys.getenv("SYFR_SLOW_TESTS"), "true"), "Slow: set SYFR_SLOW_TESTS=true")
  local_deadline(600)
  # What would lead the new sessions to the Python of this one.
  environments <- tempfile("environments")
  local_variables(WORKON_HOME = environments, RETICULATE_PYTHON = "", VIRTUAL_ENV = "")
  Sys.unsetenv(c("RETICULATE_PYTHON", "VIRTUAL_ENV"))

  installing <- r_session("syfr::install_syfr(keras = FALSE)")
  said <- read_until(installing, "Python packages are in .*r-syfr", seconds = 500)
  expect_match(said, "Installing syfr's Python packages in .*r-syfr", all = FALSE)
  expect_ends_well(installing)
  expect_identical(list.files(environments), "r-syfr")

  using <- r_session(c(
    "library(syfr)",
    "print(sy_config())",
    "with_sy_cluster(cat('running:', sum(sy_status(cluster)$running), '\\n'))"
  ))
  said <- read_until(using, "^running:")
  expect_match(said, "r-syfr", all = FALSE)
  expect_match(said, "Ready for clients and workers", all = FALSE)
  expect_match(said, "running: 3", all = FALSE)
})

test_that("an environment that cannot be made is an error, with what to do", {
  skip_on_cran()
  local_variables(WORKON_HOME = tempfile("environments"))
  said <- capture_messages(error <- tryCatch(
    suppressWarnings(install_syfr("virtualenv", "no-such-python", python_version = "1.5")),
    error = identity
  ))
  expect_s3_class(error, "syfr_error_python")
  expect_match(conditionMessage(error), "could not be installed .*Python 3.10 to 3.13 with venv is needed")
  expect_match(said[1], "Installing")
})

test_that("a switch that is neither TRUE nor FALSE is named, and the call that gave it", {
  error <- tryCatch(install_syfr(keras = NA), error = identity)
  expect_s3_class(error, "syfr_error_type")
  expect_identical(deparse(conditionCall(error)), "install_syfr(keras = NA)")
})
