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

test_that("a new environment is made, found by the next session, and runs workers", {
  skip_without_python()
  skip_if_not(identical(Sys.getenv("SYFR_SLOW_TESTS"), "true"), "Slow: set SYFR_SLOW_TESTS=true")
  local_deadline(600)
  # What would lead the new sessions to the Python of this one.
  local_variables(WORKON_HOME = tempfile("environments"), RETICULATE_PYTHON = "", VIRTUAL_ENV = "")
  Sys.unsetenv(c("RETICULATE_PYTHON", "VIRTUAL_ENV"))

  installing <- r_session("syfr::install_syfr(keras = FALSE)")
  read_until(installing, "Python packages are in .*r-syfr", seconds = 500)
  expect_ends_well(installing)

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
