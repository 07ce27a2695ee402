test_that("the Python package travels with the R package", {
  expect_true(file.exists(file.path(python_path(), "syfr", "errors.py")))
  expect_true(all(file.exists(requirement_files(keras = TRUE))))
})

test_that("the module prints without being loaded", {
  expect_match(format(sy), "^<Python module syfr .*, loaded")
  expect_output(print(sy), "Python module syfr")
})

test_that("loading the package loads no Python", {
  code <- "library(syfr); print(sy); print(sy_cluster('localhost:4000', 'localhost:4001', 'localhost:4002'));
    cat(reticulate::py_available())"
  said <- system2(file.path(R.home("bin"), "Rscript"), c("-e", shQuote(code)), stdout = TRUE, timeout = 60)
  expect_identical(said[length(said)], "FALSE")
})

test_that("library() does not fail when Python runs already and lacks what is needed", {
  skip_without_python()
  # The Python that the virtual environment was made from.
  bare <- normalizePath(reticulate::py_config()$python)
  skip_if(system2(bare, c("-c", shQuote("import msgpack")), stderr = FALSE) == 0, "That Python has msgpack too")
  code <- "reticulate::py_config(); library(syfr); tryCatch(sy$TFEWorker, syfr_error_python = conditionMessage);
    found <- sy_doctor(); cat(found$subject[found$state == 'bad'], 'is bad')"
  said <- system2(
    file.path(R.home("bin"), "Rscript"), c("-e", shQuote(code)),
    stdout = TRUE, timeout = 60, env = paste0("RETICULATE_PYTHON=", bare)
  )
  said <- paste(said, collapse = " ")
  expect_match(said, "No module named 'msgpack'")
  expect_match(said, "RETICULATE_PYTHON names this Python")
  expect_match(said, "estart R and call library\\(syfr\\) before anything else starts Python")
  expect_match(said, "Python is bad")
})

test_that("what is said when Python lacks something depends on how the session came to it", {
  local_variables(RETICULATE_PYTHON = "/usr/bin/python3")
  expect_match(python_remedy(FALSE, TRUE), "^The variable RETICULATE_PYTHON names this Python: unset it. Restart R[.]$")
  local_variables(RETICULATE_PYTHON = "managed")
  expect_identical(python_remedy(FALSE, FALSE), "Call install_syfr(), then restart R.")
  expect_match(python_remedy(TRUE, TRUE), "^Python was started before syfr was loaded. Restart R and call library")
})

test_that("a pyproject.toml of others is no project of Poetry's, and other warnings are shown", {
  expect_silent(without_poetry(warning("This project appears to use Poetry for Python dependency management.")))
  expect_warning(expect_identical(without_poetry({
    warning("something else")
    7
  }), 7), "something else")
})

test_that("the module is ours", {
  skip_without_python()
  local_deadline(300)
  expect_identical(normalizePath(dirname(bundle("syfr")$`__file__`)), normalizePath(file.path(python_path(), "syfr")))
  stranger <- list(`__file__` = file.path(tempdir(), "site-packages", "syfr", "__init__.py"))
  expect_error(check_ours(stranger), "another Python package called syfr", class = "syfr_error_python")
})

test_that("names of the module are found by $ and [[", {
  skip_without_python()
  local_deadline(300)
  worker <- sy$TFEWorker(host = "localhost:4000", auto_managed = TRUE)
  expect_error(sy$nothing, "`sy` has no `nothing`. See ?sy", fixed = TRUE, class = "syfr_error_type")
  expect_error(sy[["nothing"]], "`nothing`", class = "syfr_error_type")
  expect_true(is_alive(worker))
  expect_identical(worker$host, "localhost:4000")
  expect_s3_class(sy[["SyfrError"]], "python.builtin.type")
  expect_true("KerasHook" %in% .DollarNames(sy, ""))
})

test_that("TensorFlow's greetings are not shown, whoever loads it and whenever Python was started", {
  skip_without_python()
  # One that greets as TensorFlow does, and is loaded faster.
  place <- tempfile("modules")
  dir.create(file.path(place, "tensorflow"), recursive = TRUE)
  writeLines("import os; os.write(2, b'greetings from C')", file.path(place, "tensorflow", "__init__.py"))
  local_variables(PYTHONPATH = place)
  said <- function(...) {
    variables <- paste0("R_LIBS=", paste(.libPaths(), collapse = .Platform$path.sep))
    system2(
      file.path(R.home("bin"), "Rscript"), c("-e", shQuote(paste(c(...), collapse = "; "))),
      stdout = TRUE, stderr = TRUE, timeout = 60, env = variables
    )
  }
  load <- "invisible(reticulate::import('tensorflow')); cat('loaded')"
  expect_identical(said("library(syfr)", load), "loaded")
  expect_identical(said("invisible(reticulate::py_config())", "library(syfr)", load), "loaded")
  local_variables(TF_CPP_MIN_LOG_LEVEL = "0")
  expect_match(said("library(syfr)", load), "greetings from C.*loaded", all = FALSE)
})
