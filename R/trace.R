# Where the time of a query goes: a trace of it by the workers, layer by layer.

#' Trace a query
#'
#' @description
#' Asks the workers to trace the next query of a model, whichever client asks it: how long each worker was at each
#' layer, how long it waited for messages, and how much it sent. Only the owner may ask. Sizes and times are noted,
#' never a value; queries that are not traced pay nothing for it.
#'
#' Each call gives the last trace that there is, and asks for the next one. So call it, let a client ask, and call it
#' again.
#'
#' @param model What [sy_share()] returned, or the Keras model that was shared.
#' @return A data frame of class `syfr_trace` with a row for each worker and layer, in the order in which the worker
#'   came to them; without rows if nothing was traced yet. `worker`, `part` (of a query that runs in parts), `step` and
#'   `layer` say where; `rows` how many inputs; `began_ms` is when the worker began with it after it had begun with the
#'   query, `ms` how long until its last message, `waited_ms` how much of that it waited for others; `sent`,
#'   `received`, `sent_kb` and `received_kb` are messages and 1,000 bytes.
#' @seealso [plot.syfr_trace()]
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' trace <- with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, block = FALSE)
#'   sy_trace(model)
#'   sy_client() |>
#'     client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster) |>
#'     client_query_model(digits$x[1, , , ])
#'   sy_trace(model)
#' })
#' trace[c("worker", "layer", "ms", "waited_ms", "sent_kb")]
#' plot(trace)
#' @export
sy_trace <- function(model) {
  call <- sys.call()
  shared <- as_shared(model, call)
  new_trace(wait_for(call_python(call, shared$python$tracing), call))
}

new_trace <- function(steps) {
  number <- function(field) vapply(steps, function(step) as.numeric(step[[field]]), 0)
  text <- function(field) vapply(steps, function(step) as.character(step[[field]]), "")
  trace <- data.frame(
    worker = text("worker"), part = number("part"), step = number("step"), layer = text("layer"),
    rows = number("rows"), began_ms = number("began_ms"), ms = number("ms"), waited_ms = number("waited_ms"),
    sent = number("sent"), received = number("received"), sent_kb = number("bytes_sent") / 1000,
    received_kb = number("bytes_received") / 1000
  )
  class(trace) <- c("syfr_trace", "data.frame")
  trace
}

#' A picture of a query's time
#'
#' Draws when each worker was at each layer of a query, and how much the workers sent there. `ggplot2::autoplot()` does
#' the same where ggplot2 is installed.
#'
#' @param x,object What [sy_trace()] returned.
#' @param ... Not used.
#' @return `x`, invisibly.
#' @inherit sy_trace examples
#' @export
plot.syfr_trace <- function(x, ...) {
  drawn <- drawn_trace(x, sys.call())
  times <- drawn$times
  places <- seq_along(drawn$layers)
  space <- 0.5 * max(nchar(drawn$layers))
  old <- graphics::par(mfrow = c(1, 2), oma = c(0, space, 3, 1), mar = c(5, 1, 2.5, 1), las = 1, cex.main = 1)
  on.exit(graphics::par(old))
  # Both panels have the layers at the same heights, the first at the top.
  begin_panel <- function(right, title) {
    graphics::plot.new()
    graphics::plot.window(c(0, right), c(length(places) + 0.5, 0.5), xaxs = "i")
    graphics::title(title)
    graphics::axis(1, pretty(c(0, right), 4))
  }
  begin_panel(1.02 * max(times$end), "milliseconds")
  graphics::abline(h = places[-1] - 0.5, col = ink$light)
  graphics::rect(times$began, times$top, times$end, times$top + 0.22, col = trace_colours[times$worker], border = NA)
  graphics::axis(2, places, drawn$layers, tick = FALSE, cex.axis = 0.9)
  # Below the axis, whatever the size of the picture.
  below <- graphics::grconvertY(graphics::grconvertY(0, "npc", "inches") - 0.45, "inches", "user")
  graphics::legend(
    0, below, roles,
    fill = trace_colours[roles], border = NA, bty = "n", horiz = TRUE, xpd = NA, cex = 0.85
  )
  begin_panel(1.25 * max(drawn$kb, 1), "kB sent")
  graphics::rect(0, places - 0.35, drawn$kb, places + 0.35, col = ink$grey, border = NA)
  graphics::text(drawn$kb, places, show_costs(drawn$kb), pos = 4, xpd = NA, cex = 0.85)
  graphics::mtext(drawn$title, outer = TRUE, font = 2, line = 1)
  invisible(x)
}

trace_colours <- c(server0 = "#0072B2", server1 = "#E69F00", server2 = "#009E73")

# What is drawn: the layers in their order, a bar for each worker and layer, and what all workers sent there.
drawn_trace <- function(x, call) {
  if (nrow(x) == 0) {
    stop_syfr("not_served", "No query was traced yet. Let a client ask, then call sy_trace() again.", call)
  }
  steps <- sort(unique(x$step))
  # The lift of inputs has the highest number, and comes first.
  lift <- x$step[x$layer == "lift"]
  steps <- c(intersect(steps, lift), setdiff(steps, lift))
  layers <- x$layer[match(steps, x$step)]
  by <- list(worker = x$worker, step = x$step)
  times <- merge(
    stats::aggregate(list(began = x$began_ms), by, min), stats::aggregate(list(end = x$began_ms + x$ms), by, max)
  )
  times$place <- match(times$step, steps)
  times$top <- times$place - 0.35 + 0.24 * (match(times$worker, roles) - 1)
  kb <- vapply(steps, function(step) sum(x$sent_kb[x$step == step]), 0)
  title <- sprintf("A query of %s: %s ms at the workers", count_rows(x$rows[1]), signif(max(times$end), 3))
  list(layers = layers, times = times, kb = kb, title = title)
}
