# What a client gets: an array of numbers that knows its labels, and what becomes of it.

# The answer to a query, as an array that behaves as any other, or a list of them where the model has several outputs;
# `info` tells of the model it came from.
new_prediction <- function(values, info) {
  if (is.list(values)) {
    return(Map(function(value, head) new_prediction(value, list(head = head)), values, unlist(info$heads)))
  }
  labels <- unlist(info$classes)
  if (identical(info$head, "label")) {
    # Counted from 0 in Python.
    values <- array(as.integer(values) + 1L, dim(values))
    attr(values, "labels") <- labels
  } else if (!is.null(labels) && length(dim(values)) == 2 && ncol(values) == length(labels)) {
    dimnames(values) <- list(NULL, as.character(labels))
  }
  class(values) <- c("syfr_prediction", if (length(dim(values)) == 2) "matrix", "array")
  attr(values, "head") <- info$head
  values
}

# The plain array, with its shape and labels.
plain_array <- function(x) {
  if (!inherits(x, "syfr_prediction")) return(x)
  attr(x, "head") <- attr(x, "labels") <- NULL
  unclass(x)
}

#' Predictions, as a client gets them
#'
#' @description
#' [client_query_model()] and `predict()` give an array with a row for each input, which is used as any matrix is:
#' arithmetic, `[`, `apply()`, `max.col()` and the like work on it and give plain numbers. It knows, besides, the
#' labels that the owner of the model gave (`sy_share(classes =)`), as its column names.
#'
#' `as.data.frame()` makes a table of it, and `plot()` draws the probabilities of one input; `ggplot2::autoplot()`
#' does the same where ggplot2 is installed.
#'
#' @details
#' Where the owner lets clients have labels only (`sy_share(output = "label")` or `"top_k"`), predictions are whole
#' numbers: of the winning class, or of the best classes in the columns. They are counted from 1, as everything in R.
#'
#' Probabilities are what the model itself gives if it ends in a softmax or sigmoid. Of a model that ends in logits
#' they are the softmax of these; for a model that is no classifier this means nothing.
#'
#' @param x,object Predictions, as [client_query_model()] gives them.
#' @param classes Labels of the outputs in their order; `NULL` for those that the owner gave, else 1, 2, ...
#' @param row Which input to draw.
#' @param most Draw the most probable classes only, so many.
#' @param row.names,optional,... Not used.
#' @return `as.data.frame()`: a row for each input and class, with `row` (which input), `label`, `value` (what the
#'   model gave) and `probability`; of labels alone, with `row`, `rank` and `label`. `plot()` returns the part of it
#'   that was drawn, invisibly.
#' @name syfr_prediction
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' answer <- with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_serve(model, block = FALSE)
#'   sy_client() |>
#'     client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster) |>
#'     client_query_model(digits$x[1, , , ])
#' })
#' max.col(answer) - 1
#' as.data.frame(answer, classes = 0:9)
#' plot(answer, classes = 0:9)
NULL

#' @export
print.syfr_prediction <- function(x, ...) {
  print(plain_array(x), ...)
  invisible(x)
}

#' @export
Ops.syfr_prediction <- function(e1, e2) {
  operation <- get(.Generic)
  if (missing(e2)) return(operation(plain_array(e1)))
  operation(plain_array(e1), plain_array(e2))
}

#' @export
Math.syfr_prediction <- function(x, ...) get(.Generic)(plain_array(x), ...)

#' @export
`[.syfr_prediction` <- function(x, ...) plain_array(x)[...]

#' @export
t.syfr_prediction <- function(x) t(plain_array(x))

#' @export
as.matrix.syfr_prediction <- function(x, ...) as.matrix(plain_array(x))

#' @export
as.array.syfr_prediction <- function(x, ...) plain_array(x)

#' @rdname syfr_prediction
#' @export
as.data.frame.syfr_prediction <- function(x, row.names = NULL, optional = FALSE, ..., classes = NULL) { # nolint
  call <- sys.call(-1)
  values <- as_rows_and_classes(x, call)
  rows <- nrow(values)
  if (is_labels(x)) {
    ranks <- seq_len(ncol(values))
    label <- c(t(named_labels(x, classes, call)))
    return(data.frame(row = rep(seq_len(rows), each = ncol(values)), rank = rep(ranks, rows), label = label))
  }
  labels <- labels_of(values, classes, call)
  probability <- probabilities(x)
  data.frame(
    row = rep(seq_len(rows), each = ncol(values)), label = rep(labels, rows), value = c(t(values)),
    probability = c(t(probability))
  )
}

# The predictions as a matrix, a row for each input; answers of other shapes have no classes.
as_rows_and_classes <- function(x, call) {
  values <- plain_array(x)
  if (length(dim(values)) == 2) return(values)
  stop_syfr("shape", call = call, sprintf(
    "These predictions have the shape %s, which has no classes. Use them as an array.",
    paste(dim(values), collapse = " x ")
  ))
}

labels_of <- function(values, classes, call) {
  if (is.null(classes)) classes <- colnames(values)
  if (is.null(classes)) return(seq_len(ncol(values)))
  if (length(classes) == ncol(values) && !anyDuplicated(classes)) return(as.character(classes))
  stop_syfr("shape", call = call, sprintf(
    "`classes` has %d different labels; the model has %d outputs. Give one label for each.",
    length(unique(classes)), ncol(values)
  ))
}

# Whether clients get the numbers of classes alone.
is_labels <- function(x) identical(attr(x, "head"), "label")

# The numbers of classes, or their names where these are known.
named_labels <- function(x, classes, call) {
  values <- plain_array(x)
  if (is.null(classes)) classes <- attr(x, "labels")
  if (is.null(classes)) return(values)
  if (max(values) <= length(classes)) return(array(as.character(classes)[values], dim(values)))
  stop_syfr("shape", call = call, sprintf(
    "`classes` has %d labels, and an answer is class %d. Give one label for each class.", length(classes), max(values)
  ))
}

# What the model gives as probabilities, or the softmax of its logits; a single output has no others to compare with.
probabilities <- function(x) {
  values <- plain_array(x)
  if (!identical(attr(x, "head"), "linear")) return(values)
  if (ncol(values) == 1) return(values * NA)
  powers <- exp(values - apply(values, 1, max))
  powers / rowSums(powers)
}

# The most probable class of each row; with one output, whether it is above a half.
most_probable <- function(x, classes, call) {
  values <- as_rows_and_classes(x, call)
  if (is_labels(x)) {
    known <- if (is.null(classes)) attr(x, "labels") else classes
    return(factor(named_labels(x, classes, call)[, 1], if (is.null(known)) seq_len(max(values)) else known))
  }
  if (ncol(values) > 1) {
    labels <- labels_of(values, classes, call)
    return(factor(labels[max.col(values, "first")], levels = labels))
  }
  if (is.null(classes)) classes <- c(FALSE, TRUE)
  if (!identical(attr(x, "head"), "sigmoid") || length(classes) != 2) {
    stop_syfr("shape", call = call, paste(
      "A single output has classes only after a sigmoid, and two of them. Use type = \"raw\", or give two `classes`."
    ))
  }
  factor(classes[1 + (values[, 1] > 0.5)], levels = classes)
}

#' @rdname syfr_prediction
#' @export
plot.syfr_prediction <- function(x, row = 1, classes = NULL, most = 20, ...) {
  shown <- drawn_classes(x, row, classes, most, sys.call())
  old <- graphics::par(mar = c(4, 2 + 0.5 * max(nchar(shown$label)), 3, 2), las = 1)
  on.exit(graphics::par(old))
  colours <- ifelse(shown$probability == max(shown$probability), ink$blue, ink$pale)
  at <- graphics::barplot(
    rev(shown$probability),
    names.arg = rev(shown$label), horiz = TRUE, xlim = c(0, 1.12), border = NA, col = rev(colours), axes = FALSE,
    xlab = "probability", main = prediction_title(shown)
  )
  graphics::axis(1, seq(0, 1, 0.25))
  graphics::text(rev(shown$probability), at, percent(rev(shown$probability)), pos = 4, xpd = NA, cex = 0.85)
  invisible(shown)
}

# One row's classes, in the model's order; the most probable ones if there are too many.
drawn_classes <- function(x, row, classes, most, call) {
  if (is_labels(x)) stop_syfr("type", no_probabilities, call)
  check_row(row, nrow(as_rows_and_classes(x, call)), call)
  if (!is.numeric(most) || length(most) != 1 || !isTRUE(most >= 1 && most == round(most))) {
    stop_syfr("type", "`most` is not a number of classes. Give a whole number from 1.", call)
  }
  table <- as.data.frame(x, classes = classes)
  table <- table[table$row == row, ]
  if (anyNA(table$probability)) {
    stop_syfr("shape", "A single output has no classes to draw. Use it as a number.", call)
  }
  if (nrow(table) > most) table <- utils::head(table[order(-table$probability), ], most)
  table$label <- as.character(table$label)
  rownames(table) <- NULL
  table
}

no_probabilities <- "The owner of this model lets clients have labels only. Use them as they are, or as.data.frame()."

prediction_title <- function(shown) {
  best <- shown[which.max(shown$probability), ]
  sprintf("Most probable: %s (%s)", best$label, percent(best$probability))
}

percent <- function(x) ifelse(x > 0 & x < 0.001, "< 0.1%", sprintf("%.1f%%", 100 * x))
