# Three workers together: describing, starting, stopping, looking at them.

#' Describe a cluster of three workers
#'
#' The three workers play different parts: `w0` and `w1` compute on masked values, `w2` deals out the random numbers
#' that they need for it. Describing a cluster starts nothing, asks nothing of the network and needs no Python.
#' Owner and clients describe the same workers in the same order.
#'
#' `sy_cluster_local()` describes three workers on free ports of this machine, for examples, tests and a first try.
#'
#' @param w0,w1,w2 Workers made by [sy_worker()], their addresses, or Python's `TFEWorker` objects.
#' @param credentials The folder with the cluster's keys and certificates; `NULL` for one in
#'   `tools::R_user_dir("syfr", "data")` that follows from the addresses.
#' @return An object of class `syfr_cluster`.
#' @seealso [sy_start()], [sy_share()]; [with_sy_cluster()] for a cluster that stops by itself.
#' @examples
#' alice <- sy_worker("localhost:4000")
#' bob <- sy_worker("localhost:4001")
#' carol <- sy_worker("localhost:4002")
#' sy_cluster(alice, bob, carol)
#'
#' sy_cluster("localhost:4000", "localhost:4001", "localhost:4002")
#' @export
sy_cluster <- function(w0, w1, w2, credentials = NULL) {
  call <- sys.call()
  if (is_python(w0) || is_python(w1) || is_python(w2)) {
    return(as_cluster(make_python_cluster(list(w0, w1, w2), credentials, call), call))
  }
  workers <- list(as_worker(w0, "w0", call), as_worker(w1, "w1", call), as_worker(w2, "w2", call))
  hosts <- vapply(workers, `[[`, "", "host")
  if (anyDuplicated(hosts)) {
    stop_syfr("type", call = call, sprintf(
      "Two workers have the address %s. Give each worker one of its own.", hosts[anyDuplicated(hosts)]
    ))
  }
  new_cluster(hosts, vapply(workers, `[[`, NA, "auto_managed"), credentials)
}

#' @rdname sy_cluster
#' @export
sy_cluster_local <- function() {
  call <- sys.call()
  as_cluster(call_python(call, bundle("syfr")$local_cluster), call)
}

roles <- c("server0", "server1", "server2")

# A cluster is its description; the Python object that knows its processes is made when it is first needed.
new_cluster <- function(hosts, auto_managed, credentials = NULL, python = NULL) {
  state <- new.env(parent = emptyenv())
  state$python <- python
  cluster <- list(
    hosts = stats::setNames(hosts, roles), auto_managed = stats::setNames(auto_managed, roles),
    credentials = credentials, state = state
  )
  structure(cluster, class = "syfr_cluster")
}

# A cluster from what a user may hand over: one made by sy_cluster(), or Python's TFECluster.
as_cluster <- function(x, call = sys.call(-1)) {
  if (inherits(x, "syfr_cluster")) return(x)
  if (!is_python_cluster(x)) {
    stop_syfr("type", "`cluster` is not a cluster. Make one with sy_cluster(w0, w1, w2).", call)
  }
  auto_managed <- vapply(x$workers, function(worker) worker$auto_managed, NA)
  new_cluster(unlist(x$addresses[roles]), auto_managed, python = x)
}

is_python_cluster <- function(x) is_alive(x) && reticulate::py_has_attr(x, "addresses")

# The Python object of a cluster; one that was saved and read again has lost it.
python_cluster <- function(cluster, call = sys.call(-1)) {
  if (!is_alive(cluster$state$python)) {
    workers <- Map(new_worker, cluster$hosts, cluster$auto_managed)
    cluster$state$python <- make_python_cluster(workers, cluster$credentials, call)
  }
  cluster$state$python
}

make_python_cluster <- function(workers, credentials, call) {
  syfr <- bundle("syfr")
  for (i in seq_along(workers)) {
    worker <- workers[[i]]
    if (is_python(worker)) next
    worker <- as_worker(worker, paste0("w", i - 1), call)
    workers[[i]] <- call_python(call, syfr$TFEWorker, host = worker$host, auto_managed = worker$auto_managed)
  }
  call_python(call, syfr$TFECluster, workers[[1]], workers[[2]], workers[[3]], credentials = credentials)
}

#' Start a cluster
#'
#' Starts the workers that are `auto_managed` as processes of this machine, prints for each other worker the command
#' to run on its host, and waits until all three are there and connected to each other. The certificates of a
#' cluster on this machine are made by themselves: every connection is mutual TLS.
#'
#' Workers of the same user that run already are used as they are. An interrupt ends the wait.
#'
#' @param cluster A cluster made by [sy_cluster()].
#' @param timeout Seconds to wait for workers. `NULL`: 60, or 3600 when some are started by hand.
#' @return The cluster, invisibly.
#' @inheritSection sy_stop What stops what
#' @seealso [sy_stop()], [sy_status()]
#' @examplesIf syfr:::can_run()
#' cluster <- sy_cluster_local()
#' sy_start(cluster)
#' sy_status(cluster)
#' sy_stop(cluster)
#' @export
sy_start <- function(cluster, timeout = NULL) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  if (is.null(timeout)) timeout <- if (all(cluster$auto_managed)) 60 else 3600
  python <- python_cluster(cluster, call)
  wait_for(call_python(call, python$starting, timeout), call)
  keep_running(python)
  invisible(cluster)
}

# Workers end when nothing refers to their cluster any more; those of this session run until they are stopped or the
# session ends, whatever becomes of the object that sy_start() returned.
keep_running <- function(python) {
  known <- vapply(the$clusters, identical, NA, python)
  if (!any(known)) the$clusters <- c(the$clusters, list(python))
}

# Python's own clean-up does not run when R ends; newer versions of reticulate run it, and have ended Python by now.
end_clusters <- function(the) {
  if (!reticulate::py_available()) return(invisible())
  for (python in the$clusters) if (is_alive(python)) python$end()
}

#' A cluster that stops by itself
#'
#' `with_sy_cluster()` starts a cluster, evaluates some code and stops the cluster, also when the code fails or is
#' interrupted. `local_sy_cluster()` starts a cluster that is stopped when the function that called it ends.
#'
#' @param code Code to evaluate; in it, `cluster` is the started cluster.
#' @param cluster A cluster made by [sy_cluster()]; the default is three workers on free ports of this machine.
#' @param envir The frame of the function whose end stops the cluster.
#' @return `with_sy_cluster()` the value of `code`, `local_sy_cluster()` the started cluster.
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   sy_status(cluster)
#' })
#'
#' workers <- function() {
#'   cluster <- local_sy_cluster()
#'   sy_status(cluster)$worker
#' }
#' workers()
#' @export
with_sy_cluster <- function(code, cluster = sy_cluster_local()) {
  call <- sys.call()
  if (missing(code)) stop_syfr("type", "There is no `code`. Give some that uses `cluster`.", call)
  code <- substitute(code)
  as_cluster(cluster, call)
  on.exit(sy_stop(cluster))
  sy_start(cluster)
  eval(code, list(cluster = cluster), parent.frame())
}

#' @rdname with_sy_cluster
#' @export
local_sy_cluster <- function(cluster = sy_cluster_local(), envir = parent.frame()) {
  if (identical(envir, globalenv())) {
    stop_syfr("type", "local_sy_cluster() needs a function to end with. Call sy_start() and sy_stop() here.")
  }
  as_cluster(cluster, sys.call())
  stop_it <- function() sy_stop(cluster)
  do.call(base::on.exit, list(as.call(list(stop_it)), add = TRUE, after = FALSE), envir = envir)
  sy_start(cluster)
}

#' Look at the workers
#'
#' Asks every worker of a cluster how it is. A worker that does not answer is a row too. Only the owner of a cluster
#' may ask.
#'
#' @param cluster A cluster made by [sy_cluster()].
#' @param timeout Seconds to wait for an answer.
#' @return A data frame with a row for each worker: `worker` (its role), `address`, `running`, `ours` (whether this
#'   session started it), `pid`, `models` (how many it holds shares of), `served` (requests, of all models),
#'   `sessions` (of clients), `prepared` (rows of coming queries for which the preprocessing is done), `received_kb` and
#'   `sent_kb` (what it exchanged with the other workers, in 1,000 bytes), and `problem` (why it does not answer). What
#'   is not known of a worker that does not answer is `NA`.
#'   `attr(, "links")` is a data frame of what went over each link between two workers.
#' @seealso [plot.syfr_cluster()]
#' @examplesIf syfr:::can_run()
#' with_sy_cluster(sy_status(cluster))
#' @export
sy_status <- function(cluster, timeout = 5) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  reports <- wait_for(call_python(call, python_cluster(cluster, call)$reporting, timeout), call)
  status <- do.call(rbind, lapply(reports, status_row))
  attr(status, "links") <- link_traffic(reports)
  status
}

# What went over each link between two workers, both ways, as the first of them that answers has counted it.
link_traffic <- function(reports) {
  names(reports) <- vapply(reports, `[[`, "", "worker")
  pairs <- utils::combn(roles, 2, simplify = FALSE)
  counted <- function(pair) {
    for (ends in list(pair, rev(pair))) {
      report <- reports[[ends[1]]]
      if (isTRUE(report$running)) return(sum(report$sent[[ends[2]]], report$received[[ends[2]]]) / 1000)
    }
    NA_real_
  }
  data.frame(
    from = vapply(pairs, `[`, "", 1), to = vapply(pairs, `[`, "", 2), kb = vapply(pairs, counted, NA_real_)
  )
}

status_row <- function(report) {
  known <- function(value, otherwise) if (is.null(value)) otherwise else value
  total <- function(numbers) if (is.null(numbers)) NA_real_ else sum(as.numeric(unlist(numbers))) / 1000
  served <- if (!is.null(report$models)) sum(vapply(report$models, function(model) as.numeric(model$served), 1))
  data.frame(
    worker = report$worker, address = report$address, running = report$running, ours = report$ours,
    pid = as.integer(known(report$pid, NA)),
    models = if (is.null(report$models)) NA_integer_ else length(report$models),
    served = known(served, NA_real_),
    sessions = as.integer(known(report$sessions, NA)), prepared = as.integer(known(report$prepared, NA)),
    received_kb = total(report$received), sent_kb = total(report$sent),
    problem = known(report$problem, NA_character_)
  )
}

#' @export
format.syfr_cluster <- function(x, ...) {
  parts <- c("server0", "server1", "server2 (dealer)")
  c(
    "<cluster of three workers>",
    paste0("  ", format(parts), "  ", format(x$hosts), "  ", describe_managed(x$auto_managed))
  )
}

#' @export
print.syfr_cluster <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
