# Describing one worker.

#' Describe a worker
#'
#' A worker is one of the three processes that compute predictions. Describing one starts nothing, asks nothing of
#' the network and needs no Python: owner and clients describe the same three workers in the same way, and only the
#' owner starts them, with [sy_start()].
#'
#' A worker that is `auto_managed` is a process of this machine: [sy_start()] starts it, and it ends with
#' [sy_stop()] or with the R session that started it, also when that is killed. For a worker on another host, or one
#' that is to outlive the session, say `auto_managed = FALSE`: [sy_start()] then prints the command to run there
#' and waits until the worker answers.
#'
#' @param host Where the worker listens, such as `"localhost:4000"`.
#' @param auto_managed Whether [sy_start()] starts and stops the process itself, which it can on this machine only.
#' @return An object of class `syfr_worker`.
#' @seealso [sy_cluster()]
#' @examples
#' sy_worker("localhost:4000")
#' sy_worker("10.0.0.5:4000", auto_managed = FALSE)
#' @export
sy_worker <- function(host, auto_managed = TRUE) {
  call <- sys.call()
  new_worker(as_address(host, "host", call), as_flag(auto_managed, "auto_managed", call))
}

# An address with a port: of a name, of four numbers, or of IPv6 in brackets.
as_address <- function(x, name, call) {
  address <- if (is.character(x) && length(x) == 1) trimws(x) else ""
  pattern <- "^([A-Za-z0-9_][A-Za-z0-9._-]*|\\[[0-9A-Fa-f:.]+\\]):([0-9]{1,5})$"
  port <- if (grepl(pattern, address)) as.integer(sub(pattern, "\\2", address)) else 0
  if (port >= 1 && port <= 65535) return(address)
  stop_syfr("type", call = call, sprintf(
    "`%s` must be an address with a port from 1 to 65535. Write it like \"localhost:4000\".", name
  ))
}

new_worker <- function(host, auto_managed) {
  structure(list(host = host, auto_managed = auto_managed), class = "syfr_worker")
}

# A worker from what a user may hand over: one made by sy_worker(), or its address.
as_worker <- function(x, name, call) {
  if (inherits(x, "syfr_worker")) return(x)
  if (is.character(x)) return(new_worker(as_address(x, name, call), TRUE))
  stop_syfr("type", sprintf("`%s` is not a worker. Make one with sy_worker(\"localhost:4000\").", name), call)
}

describe_managed <- function(auto_managed) ifelse(auto_managed, "auto-managed", "started by hand")

#' @export
format.syfr_worker <- function(x, ...) sprintf("<worker %s, %s>", x$host, describe_managed(x$auto_managed))

#' @export
print.syfr_worker <- function(x, ...) {
  cat(format(x), "\n", sep = "")
  invisible(x)
}
