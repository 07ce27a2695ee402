# Stopping, and the one table that says what each way of stopping stops, keeps and deletes.

#' Stop a cluster, or serving a model
#'
#' For a cluster, ends the workers that this session has started, and with them their shares of all models; names the
#' others that still run, and says how to end them. For a shared model, stops serving it and deletes its shares; the
#' workers go on.
#'
# nolint start: line_length_linter.
#' @section What stops what:
#' | what happens | what stops | what stays | what is deleted |
#' |---|---|---|---|
#' | `num_requests` is reached | serving this model: queries get `syfr_error_not_served` | workers and shares, so that [sy_serve()] opens it again | nothing |
#' | Esc, Stop or Ctrl-C during [sy_serve()] | serving this model, as above | workers and shares | nothing |
#' | the same during another call | that call | workers, and what was shared before | what the call had begun |
#' | `sy_stop(model)` | serving this model | workers, other models | the shares of this model |
#' | [sy_shutdown_workers()], or `sy_stop(cluster)` | the workers that this session has started | workers started by hand, or by another session: it says how to end them | all shares that the ended workers held |
#' | the owner's R session ends, or is killed | the workers that it has started | workers started by hand, which go on serving | all shares that the ended workers held |
#' | the session ends after `sy_serve(block = FALSE)` | as above: serving goes on only on workers started by hand | | |
#' | a client's R session ends | its queries under way | everything else | its masks |
#'
# nolint end
#' Keys and certificates stay in all cases, except those of [sy_cluster_local()].
#'
#' @param x A cluster made by [sy_cluster()], or a shared model.
#' @param ... Not used.
#' @return `x`, invisibly.
#' @seealso [sy_shutdown_workers()]
#' @examplesIf syfr:::can_run()
#' cluster <- sy_cluster_local()
#' sy_start(cluster)
#' sy_stop(cluster)
#' @export
sy_stop <- function(x, ...) UseMethod("sy_stop")

#' @export
sy_stop.syfr_cluster <- function(x, ...) {
  call <- sys.call(-1)
  wait_for(call_python(call, python_cluster(x, call)$stopping), call)
  invisible(x)
}

#' @export
sy_stop.default <- function(x, ...) {
  call <- sys.call(-1)
  if (is_python_cluster(x)) sy_stop(as_cluster(x, call)) else sy_stop(as_shared(x, call))
  invisible(x)
}

# Whether a cluster was stopped with all its workers: those started by hand keep their shares.
is_stopped <- function(cluster, call) !python_cluster(cluster, call)$started && all(cluster$auto_managed)

#' @export
sy_stop.syfr_model <- function(x, ...) {
  call <- sys.call(-1)
  shared <- as_shared(x, call)
  # After sy_stop(cluster) there is nothing left to stop.
  nothing_left <- function(e) if (!is_stopped(shared$cluster, call)) stop(e)
  tryCatch(
    wait_for(call_python(call, shared$python$dropping), call),
    syfr_error_credentials = nothing_left, syfr_error_unreachable = nothing_left
  )
  bundle("syfr.face.owner")$forget(shared$keras)
  invisible(x)
}
