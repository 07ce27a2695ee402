# A worker started by hand, from R.

#' Run one worker on this machine
#'
#' Starts a worker from the folder with its credentials, which [sy_credentials_create()] has made, and runs it until
#' it is told to end, with Ctrl-C, Esc or a signal. It then finishes the queries that run, refuses new ones, and ends
#' within ten seconds; so it does when this R session is killed. In a terminal the same is done by
#' `syfr-player --config cluster.json --credentials FOLDER server0`, which needs Python but no R. The folder
#' `system.file("examples", "hosts", package = "syfr")` has a unit for systemd and a file for containers.
#'
#' A worker may start before or after the other two. It keeps its shares, encrypted, on its disk: started again after
#' it has ended, however that was, it serves the same models, without their owner.
#'
#' @param credentials The folder of this worker: `server0`, `server1` or `server2`.
#' @param role The part that it plays, by default the name of the folder.
#' @param config The cluster file, JSON with the addresses of the three workers; by default the one in the folder.
#' @param state_dir A folder for its shares; `NULL` for one in `tools::R_user_dir("syfr", "data")`.
#' @param listen Where it listens, as `"host:port"`, if not at its address: behind a forwarded port, say.
#' @param metrics A port, or `"host:port"`, at which Prometheus finds its counts and latencies; `NULL` for none.
#' @param log_format `"text"` or `"json"`: how it logs to standard error.
#' @return The exit status, invisibly: 0 when it was told to end, 1 when it could not start.
#' @seealso [sy_start()], which starts workers on this machine by itself; [sy_status()].
#' @examples
#' \dontrun{
#' sy_player("syfr-credentials/server0")
#' }
#' @export
sy_player <- function(
    credentials, role = basename(credentials), config = file.path(credentials, "cluster.json"),
    state_dir = NULL, listen = NULL, metrics = NULL, log_format = c("text", "json")) {
  call <- sys.call()
  as_text(credentials, "credentials", call)
  as_text(role, "role", call)
  as_text(config, "config", call)
  if (!role %in% roles) {
    stop_syfr("type", sprintf("`role` is \"%s\". Give \"server0\", \"server1\" or \"server2\".", role), call)
  }
  if (!file.exists(config)) {
    stop_syfr("type", sprintf("There is no cluster file %s. Give the one that the cluster's owner made.", config), call)
  }
  log_format <- as_choice(log_format, c("text", "json"), "log_format", call)
  options <- c("--credentials", path.expand(credentials), "--with-parent", "--log-format", log_format)
  if (is.numeric(metrics)) metrics <- as.character(metrics)
  given <- list(
    "--state-dir" = text_or_null(state_dir, "state_dir", call), "--listen" = text_or_null(listen, "listen", call),
    "--metrics" = text_or_null(metrics, "metrics", call)
  )
  for (name in names(given)) if (!is.null(given[[name]])) options <- c(options, name, given[[name]])
  command <- call_python(call, bundle("syfr.face.managed")$by_hand, role, path.expand(config), as.list(options))
  words <- vapply(command$words, shQuote, "")
  old <- Sys.getenv(names(command$environment), NA, names = TRUE)
  on.exit(for (name in names(old)) {
    if (is.na(old[[name]])) Sys.unsetenv(name) else do.call(Sys.setenv, as.list(old[name]))
  })
  do.call(Sys.setenv, command$environment)
  # With exec, so that the worker is this session's child and no shell is between them.
  invisible(system(paste(c(if (.Platform$OS.type == "unix") "exec", words), collapse = " ")))
}
