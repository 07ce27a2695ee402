# What all tests need. Certificates go to a folder of their own; compiled kernels stay where the user has them.

Sys.setenv(R_USER_DATA_DIR = tempfile("syfr-data"))

# Tests that need Python, with what it needs: what counts is that it loads.
skip_without_python <- function() {
  problem <- tryCatch(
    {
      syfr:::bundle("syfr")
      NULL
    },
    syfr_error = conditionMessage
  )
  if (!is.null(problem)) skip(problem)
}

skip_without_keras <- function() {
  skip_without_python()
  if (!reticulate::py_module_available("keras")) skip("Keras is not in this Python environment")
}

# End a test that takes longer than this, by an error.
local_deadline <- function(seconds, envir = parent.frame()) {
  setTimeLimit(elapsed = seconds)
  do.call(base::on.exit, list(quote(setTimeLimit()), add = TRUE), envir = envir)
}

sample_digits <- function() {
  sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr", mustWork = TRUE))$test
}

bundled_model <- function() system.file("extdata", "mnist-conv.h5", package = "syfr", mustWork = TRUE)

# A Python module with this code.
python_module <- function(code) {
  path <- tempfile("module", fileext = ".py")
  writeLines(code, path)
  reticulate::import_from_path(tools::file_path_sans_ext(basename(path)), path = dirname(path))
}
