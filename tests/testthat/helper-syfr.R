# What all tests need. Certificates go to a folder of their own; compiled kernels stay where the user has them.

Sys.setenv(R_USER_DATA_DIR = tempfile("syfr-data"))

# Tests that need Python, with what it needs: what counts is that it loads. R CMD check leaves them out, as it does not
# set NOT_CRAN: it would be the second time that they run.
skip_without_python <- function() {
  skip_on_cran()
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

# Interrupt a test that takes longer than this, and kill it if that does not help. The limits of setTimeLimit() are no
# use here: reached while Python runs, they end in an event loop of reticulate's.
local_deadline <- function(seconds, envir = parent.frame()) {
  if (.Platform$OS.type == "windows" || !requireNamespace("processx", quietly = TRUE)) return(invisible())
  ends <- sprintf("sleep %d; kill -INT %d; sleep 30; kill -KILL %d", seconds, Sys.getpid(), Sys.getpid())
  watch <- processx::process$new("sh", c("-c", ends))
  stop_watching <- function() watch$kill_tree()
  do.call(base::on.exit, list(as.call(list(stop_watching)), add = TRUE), envir = envir)
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

# Three workers for all tests that leave them as they are; they end with the R session of the tests.
shared <- new.env(parent = emptyenv())

test_cluster <- function() {
  if (is.null(shared$cluster)) shared$cluster <- suppressMessages(sy_start(sy_cluster_local()))
  shared$cluster
}

# The bundled model, loaded once. The Keras model itself is in $keras.
test_model <- function() {
  if (is.null(shared$model)) shared$model <- suppressMessages(sy_share(bundled_model(), test_cluster()))
  shared$model
}

# Serve the bundled model and connect a client to it.
test_client <- function(num_requests = NULL) {
  sy_serve(test_model(), num_requests, block = FALSE)
  sy_client() |> client_connect_to_model(c(1, 28, 28, 1), c(1, 10), test_cluster(), model = "mnist-conv")
}

free_hosts <- function() unname(sy_cluster_local()$hosts)

# An R session of its own that runs some code: its process, and the lines it has said that nobody has read yet.
# It is killed when the test ends.
r_session <- function(code, args = character(), envir = parent.frame(), wd = tempdir()) {
  skip_if_not_installed("processx")
  script <- tempfile(fileext = ".R")
  writeLines(code, script)
  session <- new.env()
  session$lines <- character()
  session$process <- processx::process$new(
    file.path(R.home("bin"), "Rscript"), c(script, args),
    stdout = "|", stderr = "2>&1", wd = wd,
    env = c("current", R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep))
  )
  kill <- function() session$process$kill()
  do.call(base::on.exit, list(as.call(list(kill)), add = TRUE), envir = envir)
  session
}

# What a session says up to the first line that matches.
read_until <- function(session, pattern, seconds = 60) {
  process <- session$process
  end <- Sys.time() + seconds
  repeat {
    found <- grep(pattern, session$lines)
    if (length(found) > 0) {
      said <- session$lines[seq_len(found[1])]
      session$lines <- session$lines[-seq_len(found[1])]
      return(said)
    }
    if (Sys.time() > end || !process$is_incomplete_output()) {
      stop("'", pattern, "' was not said, but:\n", paste(session$lines, collapse = "\n"))
    }
    process$poll_io(200)
    session$lines <- c(session$lines, process$read_output_lines())
  }
}

# Wait for the end of a session that should end well.
expect_ends_well <- function(session, seconds = 30) {
  session$process$wait(1000 * seconds)
  expect_identical(session$process$get_exit_status(), 0L)
}

# The processes that a session has named.
named_pids <- function(session) {
  said <- read_until(session, "^pids", seconds = 120)
  as.integer(strsplit(sub("^pids ", "", said[length(said)]), " ")[[1]])
}

# Set variables of the environment until the test ends.
local_variables <- function(..., envir = parent.frame()) {
  given <- c(...)
  old <- Sys.getenv(names(given), NA, names = TRUE)
  do.call(Sys.setenv, as.list(given))
  restore <- function() {
    for (name in names(old)) if (is.na(old[[name]])) Sys.unsetenv(name) else do.call(Sys.setenv, as.list(old[name]))
  }
  # The last ones first: a variable may be set twice.
  do.call(base::on.exit, list(as.call(list(restore)), add = TRUE, after = FALSE), envir = envir)
}

# Whether a process runs; one that has ended and was not asked how does not.
is_running <- function(pid) {
  state <- file.path("/proc", pid, "stat")
  if (file.exists("/proc/self/stat")) {
    line <- tryCatch(suppressWarnings(readLines(state)), error = function(e) character())
    return(length(line) == 1 && !grepl("^[0-9]+ \\(.*\\) [ZX] ", line))
  }
  tools::pskill(pid, 0)
}

expect_gone <- function(pids, seconds = 15) {
  force(pids) # the time runs from when they are known
  end <- Sys.time() + seconds
  while (any(vapply(pids, is_running, NA)) && Sys.time() < end) Sys.sleep(0.05)
  expect_false(any(vapply(pids, is_running, NA)))
}
