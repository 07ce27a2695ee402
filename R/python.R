# The Python half: where it is, what it needs, and how it is loaded.

# The environment that install_syfr() makes.
default_environment <- "r-syfr"

# The folder that holds the Python package, both in a library and in a source tree that is loaded from.
python_path <- function() system.file("python", package = "syfr", mustWork = TRUE)

# The files that tell pip what is needed; `keras` adds what an owner of models needs.
requirement_files <- function(keras = FALSE) {
  file.path(python_path(), c("requirements.txt", if (keras) "requirements-keras.txt"))
}

# reticulate before 1.38 cannot hand NumPy 2 arrays to R.
numpy_requirement <- function() {
  if (utils::packageVersion("reticulate") < "1.38") "numpy>=1.26,<2" else "numpy>=1.26"
}

# A module of our Python package, or one of the functions that all calls go through; loads Python the first time.
bundle <- function(name) {
  if (is.null(the$modules)) load_bundle()
  the$modules[[name]]
}

# Import every module R calls, before any of them is waited for: an import that is interrupted can end R.
# import_from_path() takes its path off sys.path again, so nothing else in that folder can be imported by chance.
load_bundle <- function() {
  # At the first attempt: a later one finds the Python that the first one started.
  if (is.null(the$started_before)) the$started_before <- reticulate::py_available()
  modules <- suspendInterrupts(tryCatch(
    {
      # Reticulate looks for an environment that has the module imported first.
      without_poetry(reticulate::import("msgpack"))
      package <- reticulate::import_from_path("syfr", path = python_path())
      check_ours(package)
      names <- c(
        "syfr.directories", "syfr.face.calls", "syfr.face.describe", "syfr.face.hook", "syfr.face.managed",
        "syfr.face.models", "syfr.face.owner", "syfr.face.provision", "syfr.face.worker",
        "syfr.hosts", "syfr.tensors.from_r"
      )
      modules <- lapply(stats::setNames(names, names), reticulate::import)
      # For the workers that Python starts: R sets LD_LIBRARY_PATH, and a Python that finds another libpython by it
      # cannot even import ssl.
      environ <- reticulate::import("os", convert = FALSE)$environ
      environ$update(list(SYFR_LIBRARY_PATH = library_directory()))
      # Looking a function up costs more than calling it, and these two are in every query.
      calls <- modules$syfr.face.calls
      c(list(syfr = package, attempt = calls$attempt, advance = calls$advance), modules)
    },
    syfr_error = stop,
    error = function(e) stop_without_python(conditionMessage(e), the$started_before)
  ))
  the$modules <- modules
}

# Reticulate 1.28 takes a folder with a pyproject.toml, such as a clone of syfr, for a project of Poetry's.
without_poetry <- function(code) {
  withCallingHandlers(code, warning = function(w) {
    if (grepl("appears to use Poetry", conditionMessage(w), fixed = TRUE)) invokeRestart("muffleWarning")
  })
}

# PyPI has a package of another author by the name of ours.
check_ours <- function(package) {
  file <- normalizePath(package$`__file__`, mustWork = FALSE)
  if (startsWith(file, normalizePath(python_path()))) return()
  stop_syfr("python", call = NULL, sprintf(
    "This session has loaded another Python package called syfr, from %s. Restart R and call library(syfr) first.",
    dirname(file)
  ))
}

stop_without_python <- function(reason, started_before) {
  missing <- regmatches(reason, regexpr("No module named '[^']+'", reason))
  running <- if (reticulate::py_available()) sprintf(" in %s", reticulate::py_config()$python) else ""
  stop_syfr("python", call = NULL, sprintf(
    "The Python packages that syfr needs cannot be loaded%s (%s). %s",
    running,
    if (length(missing) == 1) missing else one_line(reason),
    python_remedy(started_before, is_installed())
  ))
}

# Messages of other packages may be long texts, with lines and full stops of their own.
one_line <- function(text) sub("[.]$", "", gsub("[[:space:]]+", " ", trimws(text)))

# What leads a session to a Python that has what syfr needs. It depends on why the session has the one it has: because
# a variable names it, because something had started it before syfr was asked, or because there is no better one.
python_remedy <- function(started_before, installed) {
  named <- !Sys.getenv("RETICULATE_PYTHON") %in% c("", "managed")
  paste0(
    if (named) "The variable RETICULATE_PYTHON names this Python: unset it. ",
    if (started_before && !named) "Python was started before syfr was loaded. ",
    if (!installed) "Call install_syfr(), then restart R" else "Restart R",
    if (started_before) " and call library(syfr) before anything else starts Python",
    "."
  )
}

# The directory of our Python's shared library; empty when it has none.
library_directory <- function() {
  library <- reticulate::py_config()$libpython
  if (is.null(library)) "" else dirname(library)
}

# Let a Python that R starts find its own shared library first, until the calling function ends. R sets
# LD_LIBRARY_PATH; a Python that finds another libpython by it cannot import ssl, and pip cannot do without.
search_libraries_of <- function(python, envir = parent.frame()) {
  old <- Sys.getenv("LD_LIBRARY_PATH", NA)
  ask <- "import sysconfig; print(sysconfig.get_config_var('LIBDIR') or '')"
  paths <- c(system2(python, c("-c", shQuote(ask)), stdout = TRUE), if (!is.na(old)) old)
  Sys.setenv(LD_LIBRARY_PATH = paste(paths[nzchar(paths)], collapse = .Platform$path.sep))
  restore <- function() if (is.na(old)) Sys.unsetenv("LD_LIBRARY_PATH") else Sys.setenv(LD_LIBRARY_PATH = old)
  do.call(base::on.exit, list(as.call(list(restore)), add = TRUE), envir = envir)
}

# Whether the examples of the help can run: there is a Python with what an owner needs. Starts none in this session.
can_run <- function() {
  python <- Sys.getenv("RETICULATE_PYTHON", default_python())
  file.exists(python) && has_modules(python, c(worker_modules, "keras"))
}

# The Python of the environment that install_syfr() makes; empty when there is none.
default_python <- function() tryCatch(reticulate::virtualenv_python(default_environment), error = function(e) "")

# Whether that environment has what clients and workers need.
is_installed <- function() {
  python <- default_python()
  file.exists(python) && has_modules(python, worker_modules)
}

# What every worker and client loads.
worker_modules <- c("numba", "cryptography", "msgpack")

# Whether a Python, as a process of its own, finds these modules.
has_modules <- function(python, names) {
  ask <- "import sys; from importlib.util import find_spec; print(all(map(find_spec, sys.argv[1:])))"
  said <- suppressWarnings(system2(python, c("-c", shQuote(ask), names), stdout = TRUE, stderr = FALSE))
  identical(said, "True")
}

# Whether a Python, as a process of its own, can import these modules.
can_import <- function(python, names) {
  suppressWarnings(system2(python, c("-c", shQuote(paste("import", toString(names)))), stdout = FALSE)) == 0
}
