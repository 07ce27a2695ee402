#' Private predictions with Keras models
#'
#' @description
#' The owner of a Keras model serves it, a client gets predictions on inputs of their own, and neither shows the
#' other anything: model and input are split into shares for three worker processes, none of which can read either.
#' The workers compute the prediction together, and only the client can put the answer together.
#'
#' The protocol is fixed: three servers, of the SecureNN family (Wagh, Gupta and Chandran 2019), secure against any
#' one worker that follows the protocol but looks at everything it sees. Two workers who put their data together
#' can read everything, so run the three where they will not.
#'
#' @section The three steps:
#' 1. Train a model with Keras, as ever.
#' 2. The owner of the model describes three workers with [sy_cluster()], starts them with [sy_start()], splits the
#'    model among them with [sy_share()] and opens it with [sy_serve()].
#' 3. A client, in another R session, makes a [sy_client()], connects it with [client_connect_to_model()] and asks
#'    with [client_query_model()].
#'
#' [install_syfr()] installs the Python packages that are needed; [sy_config()] shows what is used.
#'
#' @section Options and variables:
#' * option `syfr.progress`: `FALSE` silences progress such as "served 2 of 3". The default is `TRUE`: bars in a
#'   terminal and in RStudio, lines in Rscript and knitr. What must be done for the work to go on is said anyhow.
#' * variable `SYFR_MNIST`: the file that [sy_mnist()] reads.
#' * variable `SYFR_HOME`: the folder for the certificates of clusters, in place of
#'   `tools::R_user_dir("syfr", "data")`.
#' * variable `TF_CPP_MIN_LOG_LEVEL`, which is TensorFlow's: `0` shows all that TensorFlow says. Otherwise syfr hides
#'   what it says while it is loaded, and sets the variable to `3` where it is not set. Errors are never hidden.
#'
#' @inheritSection sy_stop What stops what
#'
#' @references
#' Wagh, S., Gupta, D. and Chandran, N. (2019) SecureNN: 3-Party Secure Computation for Neural Network Training.
#' *Proceedings on Privacy Enhancing Technologies* 2019(3), 26--49. \doi{10.2478/popets-2019-0035}
#'
#' Chaudhari, H., Choudhury, A., Patra, A. and Suresh, A. (2019) ASTRA: High Throughput 3PC over Rings with
#' Application to Secure Prediction. *CCSW* 2019. \doi{10.1145/3338466.3358922}
#' @keywords internal
"_PACKAGE"

# The name of the operator, in a method of a group.
utils::globalVariables(".Generic")

# What the session knows: the Python modules, once they are loaded, and the clusters that it has started.
the <- new.env(parent = emptyenv())

.onLoad <- function(libname, pkgname) {
  reg.finalizer(the, end_clusters, onexit = TRUE)
  # What is asked for here is a wish: environments that the user names come first, and nothing is loaded yet.
  if ("py_require" %in% getNamespaceExports("reticulate")) {
    getExportedValue("reticulate", "py_require")(readLines(requirement_files()))
  }
  if (!reticulate::py_available() && dir.exists(file.path(reticulate::virtualenv_root(), default_environment))) {
    reticulate::use_virtualenv(default_environment, required = FALSE)
  }
  if (reticulate::py_available()) quiet_tensorflow() else setHook("reticulate.onPyInit", quiet_tensorflow)
}

# TensorFlow greets at length when it is loaded, by whomever. Our Python package keeps that back, once it is there.
quiet_tensorflow <- function() {
  tryCatch(
    suspendInterrupts(reticulate::import_from_path("syfr", path = python_path())),
    error = function(e) reticulate::py_clear_last_error()
  )
  invisible()
}

#' The Python package, as published scripts use it
#'
#' `sy` is the Python package that comes with this one; `sy$TFEWorker(host = "localhost:4000")` calls Python
#' directly. It is loaded when something of it is used for the first time, so that `library(syfr)` needs no Python.
#'
#' The R functions [sy_worker()], [sy_cluster()], [sy_share()], [sy_serve()] and [sy_client()] accept the Python
#' objects that are made with `sy`, and Python's own methods (`model$serve()` after `sy$KerasHook(keras)`) work
#' from R too. Prefer [sy_serve()] to `model$serve()`, and [sy_share()] to `model$share()`: R cannot interrupt a
#' call that waits inside Python, and before reticulate 1.37 the attempt can end the R session.
#'
#' @format An object whose elements, taken by `$`, are those of the Python module `syfr`: `KerasHook`, `TorchHook`,
#'   `TFEWorker`, `TFECluster`, `local_cluster`, `Client`, `VirtualWorker`, `PrivateTensor`, `tensor` and `SyfrError`.
#' @return What Python has by that name.
#' @seealso [install_syfr()] for the Python packages it needs.
#' @examples
#' sy
#' @examplesIf syfr:::can_run()
#' alice <- sy$TFEWorker(host = "localhost:4000", auto_managed = TRUE)
#' bob <- sy$TFEWorker(host = "localhost:4001", auto_managed = TRUE)
#' carol <- sy$TFEWorker(host = "localhost:4002", auto_managed = TRUE)
#' sy_cluster(alice, bob, carol)
#' @export
sy <- structure(list(), class = "syfr_module")

#' @export
`$.syfr_module` <- function(x, name) module_element(name, sys.call())

#' @export
`[[.syfr_module` <- function(x, i) module_element(i, sys.call())

module_element <- function(name, call) {
  module <- bundle("syfr")
  if (is.character(name) && length(name) == 1 && reticulate::py_has_attr(module, name)) return(module[[name]])
  stop_syfr("type", sprintf("`sy` has no `%s`. See ?sy for what it has.", toString(name)), call)
}

#' @importFrom utils .DollarNames
#' @export
.DollarNames.syfr_module <- function(x, pattern = "") { # nolint: object_name_linter.
  if (length(the$modules) > 0) grep(pattern, names(bundle("syfr")), value = TRUE) else character()
}

#' @export
format.syfr_module <- function(x, ...) {
  state <- if (length(the$modules) > 0) "loaded" else "loaded at first use"
  sprintf("<Python module syfr %s, %s>", utils::packageVersion("syfr"), state)
}

#' @export
print.syfr_module <- function(x, ...) {
  cat(format(x), "\n", sep = "")
  invisible(x)
}
