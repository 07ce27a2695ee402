# The picture of a cluster: who talks to whom.

#' A picture of a cluster
#'
#' Draws the three workers with their addresses and how they are, the lines between them with what went over each, and
#' the owner and the clients, who talk to all three. `ggplot2::autoplot()` does the same where ggplot2 is installed.
#'
#' @param x,object A cluster made by [sy_cluster()].
#' @param status What [sy_status()] tells of it; by default the workers are asked now.
#' @param ... Not used.
#' @return `x`, invisibly.
#' @examplesIf syfr:::can_run()
#' with_sy_cluster(plot(cluster))
#' @export
plot.syfr_cluster <- function(x, status = NULL, ...) {
  graph <- cluster_graph(x, status, sys.call())
  old <- graphics::par(mar = c(1, 1, 3, 1))
  on.exit(graphics::par(old))
  graphics::plot.new()
  graphics::plot.window(graph$xlim, graph$ylim, asp = 1)
  graphics::title(graph$title)
  edges <- graph$edges
  graphics::segments(edges$x, edges$y, edges$xend, edges$yend, col = edges$colour, lwd = edges$width, lty = edges$dash)
  labels <- edges[nzchar(edges$label), ]
  if (nrow(labels) > 0) draw_label(labels$label_x, labels$label_y, labels$label, col = ink$grey, cex = 0.85)
  nodes <- graph$nodes
  graphics::symbols(
    nodes$x, nodes$y,
    circles = nodes$size, inches = FALSE, add = TRUE, bg = nodes$colour, fg = "white", lwd = 2
  )
  graphics::text(nodes$x, nodes$y, nodes$mark, col = "white", font = 2, cex = 1.1)
  graphics::text(nodes$x, nodes$y + nodes$side * (nodes$size + 0.13), nodes$name, font = 2)
  graphics::text(nodes$x, nodes$y + nodes$side * (nodes$size + 0.3), nodes$note, col = ink$grey, cex = 0.85)
  invisible(x)
}

# Text on a little paper of its own, so that a line under it does not cross it out.
draw_label <- function(x, y, label, ...) {
  wide <- graphics::strwidth(label, ...) / 2 + 0.03
  high <- graphics::strheight(label, ...) / 2 + 0.03
  graphics::rect(x - wide, y - high, x + wide, y + high, col = "white", border = NA)
  graphics::text(x, y, label, ...)
}

# Where everything stands, what is written on it, and in which colour. `side` is where the writing is.
cluster_graph <- function(cluster, status, call) {
  if (is.null(status)) status <- status_if_known(cluster)
  known <- c("running", "sessions")
  if (!is.null(status) && !(is.data.frame(status) && nrow(status) == 3 && all(known %in% names(status)))) {
    stop_syfr("type", "`status` is not the state of three workers. Give what sy_status() returned.", call)
  }
  state <- worker_states(status)
  # Above each other: the dealer's writing stands over it, that of the other two below them.
  workers <- data.frame(
    name = c("server0", "server1", "server2 (dealer)"), x = c(-1.15, 1.15, 0), y = c(0, 0, 1.5), side = c(-1, -1, 1),
    note = paste(unname(cluster$hosts), state$word, sep = ", "), mark = state$mark, colour = state$colour, size = 0.17
  )
  sessions <- if (is.null(status)) NA else suppressWarnings(max(status$sessions, na.rm = TRUE))
  people <- data.frame(
    name = c("owner", "clients"), x = c(-2.4, 2.4), y = c(1.2, 1.2), side = c(1, 1),
    note = c("shares and serves models", client_note(sessions)), mark = "", colour = ink$grey, size = 0.12
  )
  list(
    nodes = rbind(workers, people), edges = rbind(people_lines(workers, people), worker_lines(workers, status)),
    xlim = c(-3, 3), ylim = c(-0.5, 2), title = cluster_title(status)
  )
}

status_if_known <- function(cluster) {
  tryCatch(sy_status(cluster), syfr_error_credentials = function(e) NULL)
}

# Told by a mark and a word too, not by the colour alone.
worker_states <- function(status) {
  running <- if (is.null(status)) rep(NA, 3) else status$running
  known <- function(unknown, yes, no) ifelse(is.na(running), unknown, ifelse(running, yes, no))
  list(
    word = known("not started", "running", "does not answer"), mark = known("?", "+", "x"),
    colour = known(ink$grey, ink$blue, ink$red)
  )
}

client_note <- function(sessions) {
  if (!is.finite(sessions)) return("ask for predictions")
  sprintf("%d open session%s", as.integer(sessions), if (sessions == 1) "" else "s")
}

cluster_title <- function(status) {
  if (is.null(status)) return("A cluster that is not started")
  if (all(status$running)) return("All three workers run")
  silent <- sum(!status$running)
  if (silent == 3) return("None of the three workers answers")
  sprintf("%d of three workers %s not answer", silent, if (silent == 1) "does" else "do")
}

# Owner and clients talk to each worker; what they send is not counted.
people_lines <- function(workers, people) {
  lines <- merge(data.frame(person = 1:2), data.frame(worker = 1:3))
  data.frame(
    x = people$x[lines$person], y = people$y[lines$person], xend = workers$x[lines$worker],
    yend = workers$y[lines$worker], label = "", label_x = 0, label_y = 0, colour = ink$light, width = 1, dash = 2
  )
}

worker_lines <- function(workers, status) {
  pairs <- list(c(1, 2), c(1, 3), c(2, 3))
  traffic <- attr(status, "links")
  lines <- lapply(pairs, function(pair) {
    ends <- workers[pair, ]
    kb <- traffic$kb[traffic$from == roles[pair[1]] & traffic$to == roles[pair[2]]]
    data.frame(
      x = ends$x[1], y = ends$y[1], xend = ends$x[2], yend = ends$y[2],
      label = if (length(kb) == 1 && !is.na(kb)) show_kb(kb) else "", label_x = mean(ends$x), label_y = mean(ends$y),
      colour = if (all(ends$colour == ink$blue)) ink$blue else ink$light, width = 3, dash = 1
    )
  })
  do.call(rbind, lines)
}

show_kb <- function(kb) if (kb < 1000) sprintf("%.1f kB", kb) else sprintf("%.1f MB", kb / 1000)
