# What a query has cost, and what the workers held of its input.

#' The last query of a client
#'
#' What the last query that was answered cost, layer by layer, and what each worker held of its input: numbers that
#' look like noise, since each pixel is hidden by masks of which no single worker knows both.
#'
#' @param client A client that has asked with [client_query_model()].
#' @return An object of class `syfr_query`, a list: `seconds` it took; `rows` asked for; `bytes_sent` and
#'   `bytes_received` by the client; `delays`, messages between workers that had to wait for each other; `seen`, for
#'   each worker an array of the shape of the input with what it received, scaled to 0..1 (without rows for server2,
#'   the dealer, which receives nothing of it); `layers`, a data frame of what one row costs in each layer, see
#'   [summary.syfr_model()]. Of an input that was sent in parts, `seen` is the last part.
#' @seealso [plot.syfr_query()]
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
#' query
#' cor(c(query$seen$server0), c(digits$x[1, , , ]))
#' plot(query)
#' plot(query, which = "input")
#' @export
client_last_query <- function(client) {
  call <- sys.call()
  python <- connected(client, call)
  seen <- call_python(call, python$sent_view)
  held <- call_python(call, bundle("syfr.face.describe")$held, python)
  layers <- layer_table(call_python(call, bundle("syfr.face.describe")$layers, python$program))
  structure(c(python$last_query, list(seen = seen, held = held, layers = layers)), class = "syfr_query")
}

# What Python tells of the layers, as a data frame.
layer_table <- function(rows) {
  table <- lapply(rows, function(row) {
    data.frame(
      layer = row$layer, operation = row$operation, output = paste(unlist(row$output), collapse = " x "),
      weights = row$weights, products = row$products, delays = row$delays,
      online_kb = row$online_bytes / 1000, preprocessing_kb = row$preprocessing_bytes / 1000
    )
  })
  do.call(rbind, table)
}

#' @export
format.syfr_query <- function(x, ...) {
  c(
    sprintf("<%s>", sub("^A", "a", query_title(x))),
    sprintf("  %s messages between workers, one after the other", format(x$delays)),
    sprintf("  client: %.1f kB sent, %.1f kB received", x$bytes_sent / 1000, x$bytes_received / 1000),
    sprintf(
      "  workers, a row: %.1f kB exchanged, after %.1f kB ahead of the query",
      sum(x$layers$online_kb), sum(x$layers$preprocessing_kb)
    )
  )
}

#' @export
print.syfr_query <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

#' A picture of a query
#'
#' @description
#' `which = "cost"` draws what a query costs layer by layer: the messages that the workers had to wait for, which make
#' up the time over a network, and the bytes that they exchanged for one row, during the query and ahead of it. How long
#' each layer took is for the owner to see, with [sy_trace()].
#'
#' `which = "input"` draws what the workers hold of an input: each of them alone, noise; any two of them together,
#' the input itself, which is why the three must be run by people who do not put their data together; and the
#' client, whose input it is.
#'
#' `ggplot2::autoplot()` does the same where ggplot2 is installed.
#'
#' @param x,object What [client_last_query()] returned.
#' @param which `"cost"` or `"input"`.
#' @param row Which of the inputs to draw.
#' @param ... Not used.
#' @return `x`, invisibly.
#' @inherit client_last_query examples
#' @export
plot.syfr_query <- function(x, which = c("cost", "input"), row = 1, ...) {
  which <- match.arg(which)
  if (which == "input") {
    draw_panels(query_panels(x, row, sys.call()), 3, "An input shared among the workers")
    return(invisible(x))
  }
  layers <- x$layers
  space <- 0.6 * max(nchar(layers$layer))
  old <- graphics::par(mfrow = c(1, 3), oma = c(0, space, 3, 1), mar = c(4, 1, 2.5, 1), las = 1)
  on.exit(graphics::par(old))
  colours <- c(ink$blue, ink$orange, ink$green)
  for (i in seq_along(cost_kinds)) {
    draw_costs(layers[[names(cost_kinds)[i]]], cost_kinds[[i]], colours[i], names = if (i == 1) layers$layer)
  }
  graphics::mtext(query_title(x), outer = TRUE, font = 2, line = 1)
  invisible(x)
}

cost_kinds <- c(
  delays = "messages to wait for", online_kb = "kB a row, in the query", preprocessing_kb = "kB a row, ahead of it"
)

query_title <- function(x) {
  sprintf("A query of %s, answered in %s ms", count_rows(x$rows), signif(1000 * x$seconds, 3))
}

count_rows <- function(rows) if (rows == 1) "1 row" else sprintf("%g rows", rows)

show_costs <- function(x) formatC(round(x, 1), digits = 5, format = "fg", width = 1)

# Bars of one cost, the first layer at the top.
draw_costs <- function(values, title, colour, names = NULL) {
  top <- max(values, 1)
  at <- graphics::barplot(
    rev(values),
    horiz = TRUE, xlim = c(0, 1.25 * top), col = colour, border = NA, names.arg = rev(names), main = title, axes = FALSE
  )
  graphics::axis(1, pretty(c(0, top), 4))
  graphics::text(rev(values), at, show_costs(rev(values)), pos = 4, xpd = NA, cex = 0.9)
}

query_panels <- function(x, row, call) {
  rows <- dim(x$held$server0)[1]
  check_row(row, rows, call)
  view <- function(name) {
    held <- x$held[[name]]
    sizes <- dim(held)[-1]
    array(matrix(held, nrow = rows)[row, ], sizes)
  }
  alone <- lapply(roles, function(role) panel(role, "alone: noise", view(role), FALSE))
  pairs <- names(x$held)[grepl("+", names(x$held), fixed = TRUE)]
  together <- lapply(pairs, function(pair) {
    panel(sub("+", " and ", pair, fixed = TRUE), "together: the input", stretch(view(pair)), TRUE)
  })
  client <- panel("the client", "its own input", stretch(view(pairs[1])), TRUE)
  c(alone, together, list(client))
}
