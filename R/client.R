# The client's side: connecting to a model and asking it.

#' Make a client
#'
#' A client gets predictions from a model that it cannot see, on inputs that nobody else can see. Making one connects
#' to nothing and needs no Python; [client_connect_to_model()] connects it.
#'
#' @param credentials The folder with this client's key and certificates, which the owner of the cluster made for it.
#'   `NULL` on the machine of the owner, where they are found by themselves.
#' @return An object of class `syfr_client`. It is changed in place by connecting and asking, as a connection is.
#' @seealso [client_connect_to_model()], [client_query_model()]
#' @examples
#' client <- sy_client()
#' client
#' @export
sy_client <- function(credentials = NULL) {
  client <- new.env(parent = emptyenv())
  client$credentials <- credentials
  client$queries <- list()
  structure(client, class = "syfr_client")
}

#' Connect a client to a model
#'
#' Finds the model with these shapes among those shared with the workers. The client describes the cluster as its
#' owner does, and starts nothing.
#'
#' @param client A client made by [sy_client()], or Python's `TFEWorker` object.
#' @param batch_input_shape Shape of a request, batch first: `c(1, 28, 28, 1)` for one image of 28 x 28 pixels.
#' @param batch_output_shape Shape of the answer, batch first: `c(1, 10)`. `NA` leaves a batch size open. For a model
#'   with several inputs or outputs, a list of shapes.
#' @param cluster A cluster made by [sy_cluster()].
#' @param model The name of the model, where several have the same shapes; or its number, as of [sy_models()], where
#'   several have the same name too.
#' @param timeout Seconds to wait.
#' @return The client, invisibly.
#' @seealso [client_query_model()]
#' @inherit client_query_model examples
#' @export
client_connect_to_model <- function(client, batch_input_shape, batch_output_shape, cluster, model = NULL,
                                    timeout = 60) {
  call <- sys.call()
  known <- as_client(client, call)
  cluster <- as_cluster(cluster, call)
  python <- call_python(call, bundle("syfr")$Client, python_cluster(cluster, call), known$credentials)
  batch_input_shape <- as_shape(batch_input_shape)
  batch_output_shape <- as_shape(batch_output_shape)
  task <- call_python(
    call, python$connecting, batch_input_shape, batch_output_shape, model = model, timeout = timeout
  )
  wait_for(task, call)
  if (is_alive(known$python)) known$python$disconnect()
  known$python <- python
  known$queries <- list()
  if (is_python(client)) reticulate::py_set_attr(client, "_client", python)
  invisible(client)
}

#' Ask a model for predictions
#'
#' @description
#' Masks the input, sends it to the workers and puts the masked answers together. Neither the workers nor the owner
#' of the model learn the input or the prediction.
#'
#' `client_query_model_async()` sends the input and returns; `client_query_model_join()` waits for the answers, in the
#' order of the questions, one a call. `predict()` asks as `client_query_model()` does, and gives probabilities or
#' classes on demand.
#'
#' @param client,object A client that is connected by [client_connect_to_model()].
#' @param x A numeric array, rows first: n x 28 x 28 x 1 for n images. The axes of length one that R drops, as in
#'   `x[1, , , ]`, may be missing. More rows than the model's batch count as several requests. A matrix or a data frame
#'   with a row for each input will do for a model that takes vectors, and a tensor or array of Python's for any. For a
#'   model with several inputs, a list of such arrays, in order or by the names of the inputs. Tokens, for a model that
#'   begins with an Embedding, are whole numbers counted from 0, as they were for training.
#' @param timeout Seconds to wait.
#' @param type `"raw"` for what the model gives, `"prob"` for probabilities, `"class"` for the most probable class.
#' @param classes Labels of the outputs in their order; `NULL` for those that the owner gave, else 1, 2, ...
#' @param ... Not used by methods; `timeout` may be given here.
#' @return A numeric array of class [syfr_prediction], rows first: what the model's own `predict()` gives, up to the
#'   precision of fixed point numbers (errors of a logit below 0.01). `predict(type = "prob")` a matrix with a column
#'   for each class, `predict(type = "class")` a factor. `client_query_model_async()` returns the client, invisibly.
#' @section Errors:
#' A query before connecting is an error of class `syfr_error_not_connected`; a model that is not open, or has served
#' its requests, of class `syfr_error_not_served`; an input of the wrong shape, type or range of `syfr_error_shape`,
#' `syfr_error_type`, `syfr_error_range`. See [syfr_errors].
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' with_sy_cluster({
#'   # the owner's part
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, block = FALSE)
#'
#'   # the client's, usually in another R session
#'   client <- sy_client() |>
#'     client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
#'   logits <- client_query_model(client, digits$x[1, , , ])
#'   print(which.max(logits) - 1)
#'   predict(client, digits$x[1:5, , , ], type = "class", classes = 0:9)
#' })
#' @export
client_query_model <- function(client, x, timeout = 60) {
  call <- sys.call()
  python <- connected(client, call)
  values <- wait_for(call_python(call, python$querying, as_rows(x), timeout = timeout), call)
  answer_of(python, values)
}

answer_of <- function(python, values) {
  info <- python$model_info
  if (is.list(values)) info$heads <- bundle("syfr.face.describe")$facts(python$program)$heads
  new_prediction(values, info)
}

#' @rdname client_query_model
#' @export
client_query_model_async <- function(client, x, timeout = 60) {
  call <- sys.call()
  if (is_python(client)) stop_syfr("type", "A client made in Python has its own query_model_async(). Use that.", call)
  task <- call_python(call, connected(client, call)$querying, as_rows(x), timeout = timeout)
  # The first step sends the input; nothing is waited for.
  suspendInterrupts(task$step(0))
  client$queries <- c(client$queries, list(task))
  invisible(client)
}

#' @rdname client_query_model
#' @export
client_query_model_join <- function(client) {
  call <- sys.call()
  client <- as_client(client, call)
  queries <- client$queries
  if (length(queries) == 0) {
    stop_syfr("not_connected", "No question is under way. Ask one with client_query_model_async() first.", call)
  }
  client$queries <- queries[-1]
  answer_of(client$python, wait_for(queries[[1]], call))
}

#' @rdname client_query_model
#' @importFrom stats predict
#' @export
predict.syfr_client <- function(object, x, type = c("raw", "prob", "class"), classes = NULL, ...) {
  call <- sys.call(-1)
  type <- match.arg(type)
  # What cannot be given is refused before anything is asked: a model may answer a limited number of times.
  if (type != "raw") check_classes(object, type, classes, call)
  if (type == "class" && is.null(classes)) classes <- numbered_classes(connected(object, call))
  answer <- client_query_model(object, x, ...)
  switch(type,
    raw = answer,
    prob = class_probabilities(answer, classes, call),
    class = most_probable(answer, classes, call)
  )
}

check_classes <- function(client, type, classes, call) {
  info <- connected(client, call)$model_info
  if (type == "prob" && identical(info$head, "label")) stop_syfr("type", no_probabilities, call)
  if (is.list(info$output_shape)) {
    stop_syfr("shape", "The model has several outputs, which have no common classes. Use type = \"raw\".", call)
  }
  nothing <- array(0, c(1, unlist(info$output_shape)[-1]))
  most_probable(new_prediction(nothing, info), classes, call)
}

# Of a model that answers with labels which have no names: the numbers of all classes, whichever an answer has.
numbered_classes <- function(python) {
  info <- python$model_info
  if (!identical(info$head, "label") || length(info$classes) > 0) return(NULL)
  ranks <- Filter(function(step) inherits(step, "syfr.steps.Ranks"), python$program$steps)
  # Of a single probability the label says whether it is above a half.
  seq_len(if (length(ranks) == 0) 2 else unlist(ranks[[length(ranks)]]$output_shape))
}

class_probabilities <- function(answer, classes, call) {
  found <- probabilities(answer)
  if (ncol(found) > 1) colnames(found) <- labels_of(found, classes, call)
  found
}

# A client from what a user may hand over: one made by sy_client(), or Python's TFEWorker in the part of a client.
as_client <- function(x, call) {
  if (inherits(x, "syfr_client")) return(x)
  if (!is_alive(x) || !reticulate::py_has_attr(x, "query_model")) {
    stop_syfr("type", "`client` is not a client. Make one with sy_client().", call)
  }
  client <- sy_client()
  client$python <- x$`_client`
  client
}

# The Python object of a connected client.
connected <- function(client, call) {
  python <- as_client(client, call)$python
  if (is_alive(python)) return(python)
  stop_syfr("not_connected", call = call, paste(
    "The client is not connected to a model. Connect it with client_connect_to_model() first."
  ))
}

#' @export
format.syfr_client <- function(x, ...) {
  if (!is_alive(x$python)) return("<client, not connected>")
  info <- x$python$model_info
  known <- bundle("syfr.face.describe")$facts(x$python$program)
  facts <- c(model_facts(known, unlist(info$input_shape)[1]), workers = toString(unlist(x$python$addresses)))
  c(sprintf("<client, connected to model '%s'>", info$name), aligned(facts))
}

#' @export
print.syfr_client <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
