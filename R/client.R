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
#' @param batch_output_shape Shape of the answer, batch first: `c(1, 10)`. `NA` leaves a batch size open.
#' @param cluster A cluster made by [sy_cluster()].
#' @param model The name of the model, where several have the same shapes.
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
  shapes <- list(as_shape(batch_input_shape), as_shape(batch_output_shape))
  wait_for(call_python(call, python$connecting, shapes[[1]], shapes[[2]], model = model, timeout = timeout), call)
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
#' order of the questions, one a call. `predict()` does the same as `client_query_model()`.
#'
#' @param client,object A client that is connected by [client_connect_to_model()].
#' @param x A numeric array, rows first: n x 28 x 28 x 1 for n images. The axes of length one that R drops, as in
#'   `x[1, , , ]`, may be missing. More rows than the model's batch count as several requests.
#' @param timeout Seconds to wait.
#' @param ... Passed on to `client_query_model()`.
#' @return A numeric array, rows first: what the model's own `predict()` gives, up to the precision of fixed point
#'   numbers (errors of a logit below 0.01). `client_query_model_async()` returns the client, invisibly.
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
#'   which.max(logits) - 1
#' })
#' @export
client_query_model <- function(client, x, timeout = 60) {
  call <- sys.call()
  wait_for(call_python(call, connected(client, call)$querying, as_rows(x), timeout = timeout), call)
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
  queries <- as_client(client, call)$queries
  if (length(queries) == 0) {
    stop_syfr("not_connected", "No question is under way. Ask one with client_query_model_async() first.", call)
  }
  client$queries <- queries[-1]
  wait_for(queries[[1]], call)
}

#' @rdname client_query_model
#' @importFrom stats predict
#' @export
predict.syfr_client <- function(object, x, ...) client_query_model(object, x, ...)

#' The last query of a client
#'
#' What the last query that was answered cost, and what each worker received of its input: numbers that look like
#' noise, since each pixel is hidden by a mask that no single worker knows.
#'
#' @param client A client that has asked with [client_query_model()].
#' @return A list: `seconds` it took; `rows` asked for; `bytes_sent` and `bytes_received` by the client; `delays`,
#'   messages between workers that had to wait for each other; `seen`, for each worker an array of the shape of the
#'   input with what it received, scaled to 0..1 (without rows for server2, the dealer, which receives nothing of it).
#'   Of an input that was sent in parts, `seen` is the last part.
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' query <- with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, block = FALSE)
#'   client <- sy_client() |>
#'     client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
#'   client_query_model(client, digits$x[1, , , ])
#'   client_last_query(client)
#' })
#' str(query)
#' cor(c(query$seen$server0), c(digits$x[1, , , ]))
#' @export
client_last_query <- function(client) {
  call <- sys.call()
  python <- connected(client, call)
  seen <- call_python(call, python$sent_view)
  c(python$last_query, list(seen = seen))
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
  shape <- function(sizes) paste(unlist(sizes), collapse = " x ")
  c(
    sprintf("<client, connected to model '%s'>", info$name),
    sprintf("  %s -> %s", shape(info$input_shape), shape(info$output_shape))
  )
}

#' @export
print.syfr_client <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
