# The owner's side: splitting a model among the workers, opening and closing it.

#' Share a model among the workers
#'
#' Splits the weights of a Keras model into shares, from which no single worker can tell anything, and sends them to
#' the three workers. A cluster that is not started is started. A model can be shared again, after more training
#' say; its clients find it there again by its name. Several models can be shared with one cluster.
#'
#' What the workers see of the model is its architecture: layers and shapes, never a weight.
#'
#' Dense layers, two-dimensional convolutions, average pooling, batch normalisation, ReLU, flattening and the like are
#' computed; a layer that cannot be is an error of class `syfr_error_unsupported_layer` that names it. A softmax or
#' sigmoid at the end is computed by the client, who is shown what goes into it: the client gets what the model's own
#' `predict()` gives.
#'
#' @param model A Keras model, from R's keras or keras3 packages, from Python's keras by way of reticulate, or the
#'   path of a model saved as `.keras`, `.h5` or `.hdf5`.
#' @param cluster A cluster made by [sy_cluster()].
#' @param name What clients call the model; `NULL` for the name that Keras gave it.
#' @param input_range The smallest and the largest number that an input may hold. The workers compute with fixed
#'   point numbers; that none overflows is checked for inputs within this range.
#' @param timeout Seconds to wait.
#' @param untrusted_clients `TRUE` if a client might send numbers outside `input_range` on purpose, which could tell it
#'   about the weights. Its input is then masked in a ring so small that every message stands for an input of the
#'   range (or of up to twice its width); a query takes three more messages, one after the other, between the workers.
#' @return An object of class `syfr_model`, invisibly: [sy_serve()], [sy_stop()] and [sy_shutdown_workers()] take it.
#'   They take the Keras model itself too.
#' @inheritSection sy_stop What stops what
#' @seealso [sy_serve()]
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   model
#' })
#' @export
sy_share <- function(model, cluster, name = NULL, input_range = c(0, 1), timeout = 300, untrusted_clients = FALSE) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  keras_model <- as_keras_model(model, call)
  if (is.null(name) && is.character(model)) name <- sub("[.][^.]*$", "", basename(model))
  python <- python_cluster(cluster, call)
  task <- call_python(
    call, bundle("syfr.face.owner")$sharing, keras_model, python,
    name = name, input_range = input_range, timeout = timeout,
    untrusted_clients = as_flag(untrusted_clients, "untrusted_clients", call)
  )
  # Only now: a model that cannot be shared is no reason to start workers.
  if (!python$started) sy_start(cluster)
  shared <- wait_for(task, call)
  invisible(new_model(shared, cluster, keras_model))
}

# The Keras model is kept with its share, which Python forgets with the model.
new_model <- function(shared, cluster, keras_model) {
  structure(list(python = shared, cluster = cluster, keras = keras_model, name = shared$name), class = "syfr_model")
}

# A Keras model as a Python object; which classes are models is for Python to say, as they move between versions.
as_keras_model <- function(model, call) {
  if (inherits(model, "syfr_model")) model <- model$keras
  if (is_alive(model)) return(model)
  if (!is.character(model) || length(model) != 1) {
    stop_syfr("type", "`model` is not a Keras model. Give one, or the path of a saved one.", call)
  }
  path <- path.expand(model)
  if (!file.exists(path)) {
    stop_syfr("type", sprintf("There is no file %s. Give the path of a saved Keras model.", model), call)
  }
  load_saved(path, call)
}

load_saved <- function(path, call) {
  attempt <- bundle("attempt")
  if (is.null(reticulate::import("importlib.util")$find_spec("keras"))) {
    stop_syfr("python", call = call, paste(
      "Sharing a model needs Keras, which this Python environment lacks. Call install_syfr(), then restart R."
    ))
  }
  importing <- without_noise(attempt(reticulate::import("importlib")$import_module, "keras"))
  keras <- value_of(importing, call)
  value_of(without_noise(attempt(keras$models$load_model, path, compile = FALSE)), call)
}

# TensorFlow talks to standard error when it starts, whatever it is told. What goes wrong must come as data: R prints
# an error before it leaves the function that raised it, and would print it into nowhere.
without_noise <- function(code) {
  os <- reticulate::import("os")
  suspendInterrupts({
    kept <- os$dup(2L)
    nowhere <- os$open(os$devnull, os$O_WRONLY)
    on.exit({
      os$dup2(kept, 2L)
      os$close(kept)
      os$close(nowhere)
    })
    os$dup2(nowhere, 2L)
    code
  })
}

not_shared <- "This model is not shared by this session. Share it first, with sy_share()."

# The shared model that a user means by the object of sy_share(), or by the Keras model itself.
as_shared <- function(model, call) {
  if (inherits(model, "syfr_model")) {
    if (is_alive(model$python)) return(model)
    stop_syfr("not_shared", not_shared, call)
  }
  if (!is_alive(model)) stop_syfr("type", "`model` is not a shared model. Share it with sy_share() first.", call)
  shared <- tryCatch(
    call_python(call, bundle("syfr.face.owner")$shared_model, model),
    syfr_error_not_shared = function(e) stop_syfr("not_shared", not_shared, call)
  )
  new_model(shared, as_cluster(shared$cluster, call), model)
}

#' Serve a shared model
#'
#' Opens a shared model for queries. The workers do the serving, and answers go from them to the clients without
#' passing through this session, which only waits and shows how many requests were served.
#'
#' The wait ends when `num_requests` are served, or with Esc, Stop or Ctrl-C, which closes the model. With
#' `block = FALSE` the function returns at once and the workers serve by themselves, as long as they run.
#'
#' A model that was closed stays shared: `sy_serve()` opens it again. Prefer this function to Python's
#' `model$serve()`, which R cannot interrupt safely.
#'
#' @param model What [sy_share()] returned, or the Keras model that was shared.
#' @param num_requests How many requests to serve; `NULL` for any number. One request has at most as many rows as the
#'   batch of the model's input shape; a larger query counts as several.
#' @param block Whether to wait until they are served.
#' @param per_client How many rows each client may ask for until serving is opened again; `NULL` for any number. All
#'   three workers count them by the client's certificate, so a client that connects again gets no more of them.
#' @return The shared model, invisibly.
#' @inheritSection sy_stop What stops what
#' @seealso [client_query_model()]
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, num_requests = 3, block = FALSE)
#' })
#' @export
sy_serve <- function(model, num_requests = NULL, block = TRUE, per_client = NULL) {
  call <- sys.call()
  shared <- as_shared(model, call)
  python <- shared$python
  block <- as_flag(block, "block", call)
  open <- if (block) python$serving else python$open_serving
  wait_for(call_python(call, open, num_requests, per_client), call)
  invisible(shared)
}

#' Shut down the workers that hold a model
#'
#' Ends the workers of the model's cluster that this session has started, and with them all shares they hold. Workers
#' started by hand outlive the session: for each that still runs it says what to stop where.
#'
#' @inheritParams sy_serve
#' @return `model`, invisibly. It is not shared any more.
#' @inheritSection sy_stop What stops what
#' @seealso [sy_stop()]
#' @examplesIf syfr:::can_run()
#' cluster <- sy_cluster_local()
#' model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#' sy_shutdown_workers(model)
#' @export
sy_shutdown_workers <- function(model) {
  call <- sys.call()
  shared <- as_shared(model, call)
  wait_for(call_python(call, shared$python$shutting_down), call)
  bundle("syfr.face.owner")$forget(shared$keras)
  invisible(model)
}

#' @export
format.syfr_model <- function(x, ...) {
  if (!is_alive(x$python)) return("<shared model of an R session that has ended>")
  known <- bundle("syfr.face.describe")$facts(x$python$program)
  c(sprintf("<shared model '%s'>", x$name), aligned(c(model_facts(known), workers = toString(x$cluster$hosts))))
}

#' @export
print.syfr_model <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
