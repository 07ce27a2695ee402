# The same pictures with ggplot2, where it is installed. ggplot2 finds these methods by itself.
# nolint start: object_name_linter. lintr takes no notice of methods for the generics of a suggested package.

# Columns of the data, in the calls of aes() below.
utils::globalVariables(".data")

#' @rdname plot.syfr_shares
#' @exportS3Method ggplot2::autoplot
autoplot.syfr_shares <- function(object, ...) {
  gg_panels(share_panels(object, sys.call(-1)), length(object), shares_title(object))
}

#' @rdname plot.syfr_query
#' @exportS3Method ggplot2::autoplot
autoplot.syfr_query <- function(object, which = c("cost", "input"), row = 1, ...) {
  which <- match.arg(which)
  if (which == "input") {
    return(gg_panels(query_panels(object, row, sys.call(-1)), 3, "An input shared among the workers"))
  }
  layer <- factor(object$layers$layer, rev(unique(object$layers$layer)))
  costs <- do.call(rbind, lapply(names(cost_kinds), function(kind) {
    data.frame(layer = layer, cost = factor(cost_kinds[[kind]], cost_kinds), value = object$layers[[kind]])
  }))
  colours <- stats::setNames(c(ink$blue, ink$orange, ink$green), cost_kinds)
  ggplot2::ggplot(costs, ggplot2::aes(.data$value, .data$layer, fill = .data$cost)) +
    ggplot2::geom_col(width = 0.75) +
    ggplot2::geom_text(ggplot2::aes(label = show_costs(.data$value)), hjust = -0.15, size = 3.2) +
    ggplot2::facet_wrap("cost", scales = "free_x") +
    ggplot2::scale_fill_manual(values = colours, guide = "none") +
    ggplot2::scale_x_continuous(expand = ggplot2::expansion(c(0, 0.35)), n.breaks = 4) +
    ggplot2::labs(x = NULL, y = NULL, title = query_title(object)) +
    gg_theme() +
    ggplot2::theme(panel.spacing = ggplot2::unit(16, "pt"))
}

#' @rdname plot.syfr_trace
#' @exportS3Method ggplot2::autoplot
autoplot.syfr_trace <- function(object, ...) {
  drawn <- drawn_trace(object, sys.call(-1))
  places <- seq_along(drawn$layers)
  kinds <- c("milliseconds", "kB sent")
  times <- cbind(drawn$times, kind = factor(kinds[1], kinds))
  sizes <- data.frame(kb = drawn$kb, place = places, kind = factor(kinds[2], kinds))
  ggplot2::ggplot() +
    ggplot2::geom_rect(
      ggplot2::aes(
        xmin = .data$began, xmax = .data$end, ymin = .data$top, ymax = .data$top + 0.22, fill = .data$worker
      ),
      data = times
    ) +
    ggplot2::geom_rect(
      ggplot2::aes(xmin = 0, xmax = .data$kb, ymin = .data$place - 0.35, ymax = .data$place + 0.35),
      data = sizes, fill = ink$grey
    ) +
    ggplot2::geom_text(
      ggplot2::aes(.data$kb, .data$place, label = show_costs(.data$kb)),
      data = sizes, hjust = -0.15, size = 3.2
    ) +
    ggplot2::facet_wrap("kind", scales = "free_x") +
    ggplot2::scale_fill_manual(values = trace_colours) +
    ggplot2::scale_x_continuous(expand = ggplot2::expansion(c(0, 0.15)), n.breaks = 5) +
    ggplot2::scale_y_reverse(breaks = places, labels = drawn$layers) +
    ggplot2::labs(x = NULL, y = NULL, fill = NULL, title = drawn$title) +
    gg_theme() +
    ggplot2::theme(legend.position = "bottom", panel.spacing = ggplot2::unit(16, "pt"))
}

#' @rdname syfr_prediction
#' @exportS3Method ggplot2::autoplot
autoplot.syfr_prediction <- function(object, row = 1, classes = NULL, most = 20, ...) {
  shown <- drawn_classes(object, row, classes, most, sys.call(-1))
  shown$best <- shown$probability == max(shown$probability)
  shown$label <- factor(shown$label, rev(shown$label))
  ggplot2::ggplot(shown, ggplot2::aes(.data$probability, .data$label, fill = .data$best)) +
    ggplot2::geom_col(width = 0.75) +
    ggplot2::geom_text(ggplot2::aes(label = percent(.data$probability)), hjust = -0.15, size = 3.2) +
    ggplot2::scale_fill_manual(values = c(`TRUE` = ink$blue, `FALSE` = ink$pale), guide = "none") +
    ggplot2::scale_x_continuous(limits = c(0, 1.12), breaks = seq(0, 1, 0.25)) +
    ggplot2::labs(x = "probability", y = NULL, title = prediction_title(shown)) +
    gg_theme()
}

#' @rdname plot.syfr_cluster
#' @exportS3Method ggplot2::autoplot
autoplot.syfr_cluster <- function(object, status = NULL, ...) {
  graph <- cluster_graph(object, status, sys.call(-1))
  nodes <- graph$nodes
  ggplot2::ggplot(nodes, ggplot2::aes(.data$x, .data$y)) +
    ggplot2::geom_segment(
      ggplot2::aes(
        xend = .data$xend, yend = .data$yend, colour = I(.data$colour), linewidth = I(0.5 * .data$width),
        linetype = I(.data$dash)
      ),
      data = graph$edges
    ) +
    ggplot2::geom_label(
      ggplot2::aes(.data$label_x, .data$label_y, label = .data$label),
      data = graph$edges[nzchar(graph$edges$label), ], colour = ink$grey, size = 3.2, label.size = 0
    ) +
    ggplot2::geom_point(ggplot2::aes(size = I(70 * .data$size), colour = I(.data$colour))) +
    ggplot2::geom_text(ggplot2::aes(label = .data$mark), colour = "white", fontface = "bold", size = 5) +
    ggplot2::geom_text(
      ggplot2::aes(y = .data$y + .data$side * (.data$size + 0.15), label = .data$name), fontface = "bold", size = 3.8
    ) +
    ggplot2::geom_text(
      ggplot2::aes(y = .data$y + .data$side * (.data$size + 0.32), label = .data$note), colour = ink$grey, size = 3.2
    ) +
    ggplot2::coord_equal(xlim = graph$xlim, ylim = graph$ylim) +
    ggplot2::labs(title = graph$title) +
    ggplot2::theme_void() +
    ggplot2::theme(
      plot.title = ggplot2::element_text(hjust = 0.5, face = "bold"), plot.margin = ggplot2::margin(8, 8, 8, 8)
    )
}

# nolint end

gg_theme <- function() {
  ggplot2::theme_minimal() +
    ggplot2::theme(
      panel.grid.major.y = ggplot2::element_blank(), panel.grid.minor = ggplot2::element_blank(),
      plot.title = ggplot2::element_text(face = "bold"), plot.title.position = "plot"
    )
}

# Panels of pictures, each a facet; the last one stands in the row of its own below the others.
gg_panels <- function(panels, columns, main) {
  titles <- vapply(panels, function(panel) paste(panel$title, panel$note, sep = "\n"), "")
  titles <- factor(titles, titles)
  pixels <- do.call(rbind, lapply(seq_along(panels), function(i) {
    picture <- as.matrix(panels[[i]]$picture)
    data.frame(
      panel = titles[i], x = c(col(picture)), y = c(nrow(picture) + 1 - row(picture)), colour = c(picture)
    )
  }))
  ggplot2::ggplot(pixels, ggplot2::aes(.data$x, .data$y, fill = I(.data$colour))) +
    ggplot2::geom_raster() +
    ggplot2::facet_wrap("panel", ncol = columns) +
    ggplot2::coord_equal(expand = FALSE) +
    ggplot2::labs(title = main) +
    ggplot2::theme_void() +
    ggplot2::theme(
      plot.title = ggplot2::element_text(hjust = 0.5, face = "bold", margin = ggplot2::margin(b = 8)),
      strip.text = ggplot2::element_text(margin = ggplot2::margin(4, 0, 3, 0)),
      panel.border = ggplot2::element_rect(fill = NA, colour = ink$grey), panel.spacing = ggplot2::unit(8, "pt"),
      plot.margin = ggplot2::margin(8, 8, 8, 8)
    )
}
