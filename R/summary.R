# summary() of workers, clusters, models and clients: what print() says, and what the workers say when asked.

#' Everything about a worker, cluster, model or client
#'
#' @description
#' `print()` shows what this session knows by itself. `summary()` of a cluster or a model also asks the workers, which
#' only the owner may: how they are, and how many requests were served and are left.
#'
#' @param object What [sy_worker()], [sy_cluster()], [sy_share()] or [sy_client()] returned.
#' @param ... Not used.
#' @return An object of class `syfr_summary`, a list that prints itself. Of a model: `name`; `serving`, whether
#'   requests are open; `served` and `left` (`Inf` for any number), requests since serving was opened; `layers`, a
#'   data frame of what the workers compute, with what a query of one row costs in each layer: `weights` and
#'   `products` (multiplications and additions); `delays`, messages that have to be waited for; `online_kb` and
#'   `preprocessing_kb`, exchanged between the workers (in 1,000 bytes) during a query and ahead of it. Of a cluster:
#'   `status`, see [sy_status()]. Of a client that is connected: `name` and `layers` of its model.
#' @seealso [plot.syfr_query()], [plot.syfr_cluster()]
#' @name syfr_summary
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, num_requests = 3, block = FALSE)
#'   summary(cluster)
#'   summary(model)
#' })
NULL

new_summary <- function(title, facts, ...) structure(list(title = title, facts = facts, ...), class = "syfr_summary")

# The columns of tables that are printed: they fit 80 characters in most cases.
summary_columns <- list(
  status = c("worker", "address", "running", "models", "served", "sessions", "received_kb", "sent_kb"),
  layers = c("layer", "output", "delays", "online_kb", "preprocessing_kb")
)

#' @export
format.syfr_summary <- function(x, ...) {
  tables <- lapply(intersect(names(summary_columns), names(x)), function(name) {
    table <- x[[name]][summary_columns[[name]]]
    c("", utils::capture.output(print(table, row.names = FALSE, digits = 3)))
  })
  c(sprintf("<%s>", x$title), aligned(x$facts), unlist(tables))
}

#' @export
print.syfr_summary <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

# Lines of "what  is so", from a named vector.
aligned <- function(facts) if (length(facts) > 0) paste0("  ", format(names(facts)), "  ", facts)

#' @rdname syfr_summary
#' @export
summary.syfr_worker <- function(object, ...) {
  facts <- c(address = object$host, start = describe_managed(object$auto_managed), state = "ask sy_status(cluster)")
  new_summary("worker", facts)
}

#' @rdname syfr_summary
#' @export
summary.syfr_cluster <- function(object, ...) {
  call <- sys.call(-1)
  status <- status_if_known(object)
  if (is.null(status)) return(new_summary("cluster of three workers, not started", addresses(object)))
  running <- sprintf("%d of 3 workers run", sum(status$running))
  owner <- call_python(call, python_cluster(object, call)$owner_bundle)
  facts <- c(state = running, `TLS identity` = describe_identity(owner))
  new_summary("cluster of three workers", facts, status = status)
}

addresses <- function(cluster) stats::setNames(unname(cluster$hosts), roles)

#' @rdname syfr_summary
#' @export
summary.syfr_model <- function(object, ...) {
  call <- sys.call(-1)
  shared <- as_shared(object, call)
  describe <- bundle("syfr.face.describe")
  state <- serving_state(shared, call)
  facts <- c(
    state = state$word, requests = state$requests,
    model_facts(describe$facts(shared$python$program)), workers = toString(shared$cluster$hosts),
    `TLS identity` = identity_if_known(python_cluster(shared$cluster, call)$owner_bundle, call)
  )
  new_summary(
    sprintf("shared model '%s'", shared$name), facts,
    name = shared$name, serving = state$serving, served = state$served, left = state$left,
    layers = layer_table(describe$layers(shared$python$program))
  )
}

# How far serving is, as the worker that has counted the fewest says.
serving_state <- function(shared, call) {
  reports <- tryCatch(
    wait_for(call_python(call, python_cluster(shared$cluster, call)$reporting), call),
    syfr_error_credentials = function(e) if (!is_stopped(shared$cluster, call)) stop(e)
  )
  found <- lapply(reports, function(report) Find(function(model) model$model == shared$python$number, report$models))
  found <- Filter(Negate(is.null), found)
  if (length(found) < 3) {
    stopped <- length(found) == 0 && is_stopped(shared$cluster, call)
    word <- if (stopped) stopped_word else sprintf("%d of 3 workers hold a share of it", length(found))
    return(list(word = word, requests = "none", serving = FALSE, served = NA_real_, left = 0))
  }
  served <- min(vapply(found, function(model) as.numeric(model$served), 0))
  limit <- found[[1]]$requests
  serving <- all(vapply(found, function(model) isTRUE(model$serving), NA))
  left <- if (!serving) 0 else if (is.null(limit)) Inf else limit - served
  list(
    word = if (serving) "open for requests" else "shared, not open for requests", serving = serving,
    requests = sprintf("%s served, %s left", format(served), if (is.infinite(left)) "any number" else format(left)),
    served = served, left = left
  )
}

#' @rdname syfr_summary
#' @export
summary.syfr_client <- function(object, ...) {
  call <- sys.call(-1)
  if (!is_alive(object$python)) return(new_summary("client, not connected", character()))
  describe <- bundle("syfr.face.describe")
  info <- object$python$model_info
  known <- describe$facts(object$python$program)
  identity <- identity_if_known(object$python$bundle, call)
  new_summary(
    sprintf("client, connected to model '%s'", info$name),
    c(
      state = if (is.null(identity)) stopped_word,
      model_facts(known, unlist(info$input_shape)[1]),
      workers = toString(unlist(object$python$addresses)), `TLS identity` = identity
    ),
    name = info$name, layers = layer_table(describe$layers(object$python$program))
  )
}

stopped_word <- "its cluster was stopped"

# With the workers of sy_cluster_local() their certificates go.
identity_if_known <- function(owner, call) {
  tryCatch(describe_identity(call_python(call, owner)), syfr_error_credentials = function(e) NULL)
}

describe_identity <- function(credentials) {
  known <- bundle("syfr.face.describe")$identity(credentials)
  until <- format(as.POSIXct(known$expires, origin = "1970-01-01"), "%Y-%m-%d")
  sprintf("%s of cluster %s, until %s", known$name, known$cluster, until)
}

# What can be said of a model without asking anybody; `rows` are those of a request, if they are known.
model_facts <- function(known, rows = known$rows) {
  rows <- if (is.null(rows)) "n" else rows
  shapes <- function(parts) toString(vapply(parts, function(part) paste(c(rows, unlist(part)), collapse = " x "), ""))
  c(
    shapes = sprintf("%s -> %s", shapes(known$inputs), shapes(known$outputs)),
    inputs = describe_inputs(known),
    output = toString(unique(describe_head(unlist(known$heads), known$digits))),
    ranges = if (isFALSE(known$proven)) "not proven, but found with the owner's calibration data",
    precision = sprintf("fixed point, %d bits after the point of %d", known$fraction_bits, known$value_bits)
  )
}

describe_inputs <- function(known) {
  ends <- format(unlist(known$input_range), digits = 3, trim = TRUE)
  held <- if (known$untrusted_clients) ", held to it by the workers" else ""
  sizes <- unlist(known$vocabularies)
  tokens <- if (any(sizes > 0)) sprintf("tokens, whole numbers from 0 to %d", unique(sizes[sizes > 0]) - 1L)
  numbers <- if (!all(sizes > 0) || length(sizes) == 0) sprintf("from %s to %s%s", ends[1], ends[2], held)
  paste(c(tokens, numbers), collapse = "; ")
}

describe_head <- function(heads, digits) {
  words <- c(
    linear = sprintf("what the last layer gives, with %d bits after the point", digits),
    softmax = "probabilities", sigmoid = "probabilities", label = "labels alone, counted from 1"
  )
  unname(words[heads])
}
