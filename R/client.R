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
  client <- as_client(client, call)
  cluster <- as_cluster(cluster, call)
  python <- from_python(call = call, {
    bundle("syfr.client")$Client(python_cluster(cluster, call), client$credentials)
  })
  wait_for(call = call, from_python(call = call, {
    python$connecting(as_shape(batch_input_shape), as_shape(batch_output_shape), model = model, timeout = timeout)
  }))
  client$python <- python
  client$cluster <- cluster
  client$queries <- list()
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
  python <- connected(client, call)
  wait_for(from_python(python$querying(as_rows(x), timeout = timeout), call), call)
}

#' @rdname client_query_model
#' @export
client_query_model_async <- function(client, x, timeout = 60) {
  call <- sys.call()
  client <- as_client(client, call)
  task <- from_python(connected(client, call)$querying(as_rows(x), timeout = timeout), call)
  # The first step sends the input; nothing is waited for.
  suspendInterrupts(from_python(task$step(0), call))
  client$queries <- c(client$queries, task)
  invisible(client)
}

#' @rdname client_query_model
#' @export
client_query_model_join <- function(client) {
  call <- sys.call()
  client <- as_client(client, call)
  if (length(client$queries) == 0) {
    stop_syfr("not_connected", "No question is under way. Ask one with client_query_model_async() first.", call)
  }
  task <- client$queries[[1]]
  client$queries <- client$queries[-1]
  wait_for(task, call)
}

#' @rdname client_query_model
#' @importFrom stats predict
#' @export
predict.syfr_client <- function(object, x, ...) client_query_model(object, x, ...)

as_client <- function(x, call) {
  if (inherits(x, "syfr_client")) return(x)
  stop_syfr("type", "`client` is not a client. Make one with sy_client().", call)
}

# The Python object of a connected client.
connected <- function(client, call) {
  client <- as_client(client, call)
  if (is.null(client$python) || !is_alive(client$python)) {
    stop_syfr("not_connected", call = call, paste(
      "The client is not connected to a model. Connect it with client_connect_to_model() first."
    ))
  }
  client$python
}

#' @export
format.syfr_client <- function(x, ...) {
  if (is.null(x$python) || !is_alive(x$python)) return("<client, not connected>")
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
