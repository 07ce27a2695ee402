# The owner's side: splitting a model among the workers, opening and closing it.

#' Share a model among the workers
#'
#' Splits the weights of a Keras model into shares, from which no single worker can tell anything, and sends them to
#' the three workers. A cluster that is not started is started. A model can be shared again, after more training
#' say; its clients find it there again by its name. Several models can be shared with one cluster.
#'
#' What the workers see of the model is its architecture: layers and shapes, never a weight.
#'
#' The model is read and checked before anything is sent. This takes about a second for 15 million weights, in which R
#' does not hear an interrupt.
#'
#' Dense layers, convolutions, pooling, normalisation, attention, recurrent layers, activations, sums and the like are
#' computed, also in models with branches; a layer that cannot be is an error of class `syfr_error_unsupported_layer`
#' that names it. A softmax or sigmoid at the end is computed by the client, who is shown what goes into it: the
#' client gets what the model's own `predict()` gives.
#'
#' An Embedding takes tokens: whole numbers from 0 that are smaller than its `input_dim`, straight from an input of the
#' model. The client shares each token as that many numbers, a 1 in its place and zeros, so that neither the token nor
#' the table is seen by anybody. That is 6 bytes for each word of the vocabulary and each token, to two workers: 64
#' tokens of 10,000 are 3.8 MB to each. `input_range` is about the other inputs.
#'
#' @section What clients get:
#' Every answer tells its client something about the model, and many answers tell more. `output` and `digits` say how
#' much one of them tells:
#'
#' | `output` | a client gets |
#' |---|---|
#' | `"model"` | what the model's own `predict()` gives |
#' | `"logits"` | what goes into the softmax or sigmoid at the end |
#' | `"label"` | the number of the winning class, counted from 1, and nothing else |
#' | `"top_k"` | the numbers of the `k` best classes, best first |
#'
#' Labels are found by the workers on shares: nobody sees the logits. A client then connects to the shape of its
#' answers, `c(1, 1)` for a label and `c(1, k)` for several. `sy_serve(per_client =)` limits how many answers a client
#' gets.
#'
#' @param model A Keras model, from R's keras or keras3 packages, from Python's keras by way of reticulate, or the
#'   path of a model saved as `.keras`, `.h5` or `.hdf5`. Numbers are shared as a private tensor: see [sy_tensor()].
#' @param cluster A cluster made by [sy_cluster()].
#' @param name What clients call the model; `NULL` for the name that Keras gave it. A model that is shared under a name
#'   that is taken does not replace the other: there are two of that name until one is stopped, see [sy_stop()] and
#'   [sy_drop()]. A client then gets the one that is served, or says which by its number.
#' @param input_range The smallest and the largest number that an input may hold. The workers compute with fixed
#'   point numbers; that none overflows is checked for inputs within this range.
#' @param timeout Seconds to wait.
#' @param untrusted_clients `TRUE` if a client might send numbers outside `input_range` on purpose, which could tell it
#'   about the weights. Its input is then masked in a ring so small that every message stands for an input of the
#'   range (or of up to twice its width); a query takes three more messages, one after the other, between the workers.
#' @param output What clients get of a prediction; see below.
#' @param k How many labels, for `output = "top_k"`.
#' @param digits Binary digits behind the point of what a client gets, from 0 to `precision`; `NULL` for all that the
#'   workers compute with.
#' @param classes Names of the classes in the order of the outputs; clients are told them, and answers carry them.
#' @param precision Binary digits behind the point of all numbers that the workers compute with; 6 to 18; `NULL` for
#'   14. Fewer leave more room for large numbers inside the network.
#' @param calibrate Inputs like those to come, rows first, for a model of which it cannot be proven that no number
#'   inside it gets too large.
#' @param allow_unproven Whether it is enough that none did with the inputs in `calibrate`. The model is then marked as
#'   not proven.
#' @param ... No more arguments for models; for tensors those of [sy_tensor()].
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
sy_share <- function(model, cluster, ...) UseMethod("sy_share")

#' @rdname sy_share
#' @export
sy_share.default <- function(model, cluster, name = NULL, input_range = c(0, 1), timeout = 300,
                             untrusted_clients = FALSE, output = c("model", "logits", "label", "top_k"), k = 5,
                             digits = 10, classes = NULL, precision = NULL, calibrate = NULL,
                             allow_unproven = FALSE, ...) {
  call <- sys.call(-1)
  refuse_others(call, "models", "?sy_share", ...)
  # What is not given is left to Python, which has the same defaults.
  given <- list(
    output = if (!missing(output)) as_choice(output, share_outputs, "output", call), k = if (!missing(k)) k,
    classes = as_names(classes), precision = precision,
    calibrate = if (!is.null(calibrate)) as_rows(calibrate),
    allow_unproven = if (as_flag(allow_unproven, "allow_unproven", call)) TRUE
  )
  given <- given[!vapply(given, is.null, NA)]
  if (!missing(digits)) given["digits"] <- list(digits)
  cluster <- as_cluster(cluster, call)
  keras_model <- as_keras_model(model, call)
  if (is.null(name) && is.character(model)) name <- sub("[.][^.]*$", "", basename(model))
  python <- python_cluster(cluster, call)
  options <- c(given, list(
    name = name, input_range = input_range, timeout = timeout,
    untrusted_clients = as_flag(untrusted_clients, "untrusted_clients", call)
  ))
  sharing <- bundle("syfr.face.owner")$sharing
  task <- do.call(call_python, c(list(call, sharing, keras_model, python), options), quote = TRUE)
  # Only now: a model that cannot be shared is no reason to start workers.
  if (!python$started) sy_start(cluster)
  shared <- wait_for(task, call)
  invisible(new_model(shared, cluster, keras_model))
}

share_outputs <- c("model", "logits", "label", "top_k")

# Python takes a list of texts for several names, also for one.
as_names <- function(x) if (!is.null(x)) as.list(as.character(x))

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
    stop_syfr("type", sprintf("There is no file \"%s\". Give the path of a saved Keras model.", model), call)
  }
  load_saved(path, call)
}

load_saved <- function(path, call) {
  if (is.null(reticulate::import("importlib.util")$find_spec("keras"))) {
    stop_syfr("python", call = call, paste(
      "Sharing a model needs Keras, which this Python environment lacks. Call install_syfr(), then restart R."
    ))
  }
  if (!looks_saved(path)) {
    stop_syfr("type", call = call, sprintf(
      "`model`: %s is not a saved Keras model. Give a file that Keras has saved as .keras, .h5 or .hdf5.", path
    ))
  }
  keras <- call_python(call, reticulate::import("importlib")$import_module, "keras")
  call_python(call, keras$models$load_model, path, compile = FALSE)
}

# Whether a file begins as HDF5 files or zips do, or a folder is one of TensorFlow's. Keras's words about others help
# nobody; about what is wrong inside a saved model they do.
looks_saved <- function(path) {
  if (dir.exists(path)) return(file.exists(file.path(path, "saved_model.pb")))
  start <- tryCatch(suppressWarnings(readBin(path, "raw", 4)), error = function(e) raw())
  identical(start, as.raw(c(0x89, 0x48, 0x44, 0x46))) || identical(start, charToRaw("PK\003\004"))
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
#' passing through this session, which only waits and shows how many requests were served, and for how many rows of
#' queries to come the workers have done the preprocessing.
#'
#' The wait ends when `num_requests` are served, or with Esc, Stop or Ctrl-C, which closes the model. With
#' `block = FALSE` the function returns at once and the workers serve by themselves, as long as they run; in RStudio the
#' console is then free for other work, and no background job is needed.
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
