# The Python environment: installing it, and saying what is used.

#' Install the Python packages that syfr needs
#'
#' Makes a Python environment of its own and installs NumPy, Numba, cryptography and msgpack into it, and, for
#' owners of models, Keras with TensorFlow. The next R session that loads syfr uses it, unless told otherwise by
#' `reticulate::use_virtualenv()` or the variable RETICULATE_PYTHON. No other environment is touched.
#'
#' Clients, and hosts that only run workers, do without Keras: `install_syfr(keras = FALSE)`.
#'
#' The Python package of syfr itself comes with the R package and is not installed: what is called `syfr` in
#' Python's public index is by other authors. With reticulate before 1.38, which cannot hand NumPy 2 arrays to R,
#' NumPy stays below version 2. Python 3.10 to 3.13 will do (3.13 needs reticulate 1.39 or newer).
#'
#' @param method `"virtualenv"`, `"conda"`, or `"auto"`: a conda environment that has this name already, else a
#'   virtual environment.
#' @param envname Name or path of the environment. It is made if it does not exist. Sessions find the environment
#'   `"r-syfr"` of method `"virtualenv"` by themselves; for another, the last line printed says what to call.
#' @param ... Passed on to [reticulate::py_install()].
#' @param keras Whether to install Keras and TensorFlow, which only owners of models need.
#' @param python_version The version of Python for a new environment, such as `"3.11"`; `NULL` for reticulate's
#'   choice.
#' @return The path of the environment's Python, invisibly. The last line printed says what to do next.
#' @section Errors:
#' An error of class `syfr_error_python` when Python is missing or of another version, or when pip fails. An environment
#' that was there before is left as pip left it; one that was made in vain because of its version is removed.
#' @seealso [sy_config()], [sy_doctor()]
#' @examples
#' \dontrun{
#' install_syfr()
#' install_syfr(envname = "~/clients-only", keras = FALSE)
#' }
#' @export
install_syfr <- function(method = c("auto", "virtualenv", "conda"), envname = "r-syfr", ..., keras = TRUE,
                         python_version = NULL) {
  call <- sys.call()
  method <- install_method(match.arg(method), envname)
  files <- requirement_files(as_flag(keras, "keras", call))
  say_installing(envname, keras)
  python <- tryCatch(
    without_poetry({
      if (method == "virtualenv") make_virtualenv(envname, python_version, call)
      # pip reads the files itself: reticulate 1.28 takes the quotes out of a requirement, and with them its meaning.
      reticulate::py_install(
        numpy_requirement(),
        envname = envname, method = method, python_version = python_version, pip = TRUE,
        pip_options = c(rbind("-r", shQuote(files))), ...
      )
      if (method == "conda") reticulate::conda_python(envname) else reticulate::virtualenv_python(envname)
    }),
    syfr_error = stop,
    error = function(e) {
      stop_syfr("python", call = call, sprintf(
        "The Python packages could not be installed (%s). See what pip says above; Python %s with venv is needed.",
        one_line(conditionMessage(e)), python_range
      ))
    }
  )
  if (!can_import(python, c("ssl", worker_modules))) {
    stop_syfr("python", call = call, sprintf(
      "What was installed in %s cannot be loaded. Look above at what pip and Python say, and install again.", envname
    ))
  }
  cli::cli_alert_success("syfr's Python packages are in {.val {envname}}. {how_to_use(method, envname)}")
  invisible(python)
}

# pip tells by itself how far it is.
say_installing <- function(envname, keras) {
  if (quiet()) return(invisible())
  what <- if (keras) "NumPy, Numba, Keras and TensorFlow, some 2 GB" else "NumPy and Numba, some 300 MB"
  cli::cli_alert_info(paste0("Installing syfr's Python packages in {.val {envname}} (", what, "): some minutes"))
}

python_range <- "3.10 to 3.13"

install_method <- function(method, envname) {
  if (method != "auto") return(method)
  conda <- tryCatch(envname %in% reticulate::conda_list()$name, error = function(e) FALSE)
  if (conda) "conda" else "virtualenv"
}

# A virtual environment of a Python that will do, with nothing in it yet; one that exists is used as it is.
make_virtualenv <- function(envname, python_version, call) {
  exists <- reticulate::virtualenv_exists(envname)
  # Without `packages`, reticulate would first install the newest NumPy.
  if (!exists) reticulate::virtualenv_create(envname, version = python_version, packages = FALSE)
  python <- reticulate::virtualenv_python(envname)
  search_libraries_of(python, parent.frame())
  version <- system2(python, c("-c", shQuote("import platform; print(platform.python_version())")), stdout = TRUE)
  if (python_fits(version)) return(invisible())
  if (!exists) reticulate::virtualenv_remove(envname, confirm = FALSE)
  stop_syfr("python", call = call, sprintf(
    "%s has Python %s. syfr needs %s: give python_version = \"3.11\", say%s.", envname, version, python_range,
    if (exists) ", and another envname" else ""
  ))
}

python_fits <- function(version) {
  version <- numeric_version(sub("^([0-9]+[.][0-9]+).*$", "\\1", version))
  version >= "3.10" && version <= "3.13"
}

# What a new session must do to use an environment.
how_to_use <- function(method, envname) {
  if (method == "virtualenv" && envname == default_environment) return("Restart R and call library(syfr).")
  use <- if (method == "conda") "use_condaenv" else "use_virtualenv"
  sprintf("Restart R and call reticulate::%s(\"%s\") before library(syfr).", use, envname)
}

#' Show what syfr uses
#'
#' Which R, Python and packages are used, where they are, and, when something is missing, the one command that
#' repairs it. Loads Python if it is not loaded yet, but not Keras or TensorFlow.
#'
#' @return A list of class `syfr_config`, which prints: `versions` (a named character vector, `NA` for what is not
#'   installed), `python` and `package` (paths), `problem` (a sentence, or `NULL` when all is well).
#' @seealso [install_syfr()]
#' @examplesIf syfr:::can_run()
#' sy_config()
#' @export
sy_config <- function() {
  versions <- c(R = paste(R.version$major, R.version$minor, sep = "."))
  for (package in c("syfr", "reticulate")) versions[package] <- format(utils::packageVersion(package))
  problem <- tryCatch(
    {
      bundle("syfr")
      NULL
    },
    error = conditionMessage
  )
  config <- list(versions = versions, python = NULL, package = python_path(), problem = problem)
  if (reticulate::py_available()) {
    config$python <- reticulate::py_config()$python
    config$versions <- c(versions, python_versions())
  }
  structure(config, class = "syfr_config")
}

# Versions of Python and of its packages, from their metadata: nothing is imported.
python_versions <- function() {
  metadata <- reticulate::import("importlib.metadata")
  version <- function(name) tryCatch(metadata$version(name), error = function(e) NA_character_)
  names <- c("numpy", "numba", "cryptography", "msgpack", "keras", "tensorflow", "tensorflow-cpu", "tf-keras")
  found <- vapply(names, version, "")
  reticulate::py_clear_last_error()
  if (is.na(found["tensorflow"])) found["tensorflow"] <- found["tensorflow-cpu"]
  wanted <- setdiff(names, c("tensorflow-cpu", if (is.na(found["tf-keras"])) "tf-keras"))
  c(Python = as.character(reticulate::py_config()$version), found[wanted])
}

#' @export
format.syfr_config <- function(x, ...) {
  versions <- ifelse(is.na(x$versions), "not installed", x$versions)
  lines <- c(
    paste0(format(names(x$versions)), "  ", versions),
    paste("Python is", if (is.null(x$python)) "not loaded" else x$python),
    paste("syfr's own Python package is", x$package)
  )
  owner <- "keras" %in% names(x$versions) && !is.na(x$versions["keras"])
  ending <- if (!is.null(x$problem)) {
    x$problem
  } else if (owner) {
    "All is ready."
  } else {
    "Ready for clients and workers. To share models of your own, call install_syfr()."
  }
  c(lines, ending)
}

#' @export
print.syfr_config <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
