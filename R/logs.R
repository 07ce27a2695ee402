# What workers have logged.

#' What the workers have logged
#'
#' The last lines of the logs of the workers that were started by [sy_start()] on this machine, and of those that have
#' died since and were started again. Logs tell of links, shares, refusals and failures; never a weight, an input or
#' an answer. They are deleted by [sy_stop()]. A worker that was started by hand logs to the terminal, or to the
#' service manager, that it was started from.
#'
#' @param cluster A cluster made by [sy_cluster()].
#' @param lines How many lines of each worker.
#' @return A data frame with a row for each line, worker by worker: `worker`, `time` (of class `POSIXct`), `level`
#'   (`"INFO"`, `"WARNING"` or `"ERROR"`) and `message`. A line that is not the worker's own, such as an error of
#'   Python, has a message only.
#' @seealso [sy_status()]
#' @examplesIf syfr:::can_run()
#' with_sy_cluster(sy_logs(cluster, 3)[c("worker", "level", "message")])
#' @export
sy_logs <- function(cluster, lines = 100) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  found <- call_python(call, python_cluster(cluster, call)$logs, lines)
  field <- function(name) {
    values <- vapply(found, `[[`, "", name)
    ifelse(nzchar(values), values, NA_character_)
  }
  data.frame(
    worker = as.character(field("worker")),
    time = as.POSIXct(as.character(field("time")), format = "%Y-%m-%dT%H:%M:%OS", tz = "UTC"),
    level = as.character(field("level")), message = as.character(field("message"))
  )
}
