# Private tensors: sharing arrays, and opening what was computed from them. What is computed is told in
# tensor-operators.R and tensor-shapes.R; inst/python/syfr/tensors/from_r.py does it.

#' Private tensors
#'
#' @description
#' A private tensor is an array of numbers that only the three workers together hold. R's operators and functions make
#' others of it, see [tensor_operations], and [predict()][predict.syfr_model] puts it through a shared model. Nothing
#' runs, and nobody sees a number, until `sy_get()` opens one of them: this one alone.
#'
#' `sy_tensor()` says what is to be shared and within which range its elements are. `sy_share()` shares it; it takes
#' plain numbers, vectors and arrays, too. `sy_explain()`, and `summary()`, tell what opening a tensor would cost before
#' anything runs. `sy_permit()` lets another session open what it computes from a tensor that this one has shared.
#' Printing opens nothing.
#'
#' @details
#' The workers compute with multiples of \eqn{2^{-14}}, about 0.00006, below 8192. The range of every tensor is public
#' and carried along; an operation whose result might not fit is refused when it is written down, with an error of class
#' `syfr_error_range_check`. A tight range of what is shared leaves room for more.
#'
#' Tensors belong to the R session that shared them and end with it. They are held by the workers of one cluster.
#'
#' @param x A numeric or logical vector, matrix or array, or a data frame of them; none missing. For `sy_get()`,
#'   `sy_explain()` and `sy_permit()` a private tensor; `sy_get()` opens a list of them at once, too.
#' @param range The smallest and the largest number that an element may be; everybody learns it. By default the powers
#'   of two around what `x` holds, which tells a little about it; for positive numbers it begins at 0, so that `log(x)`
#'   and `1 / x`, which take arguments from 1/1024, need a range that begins above.
#' @param model A tensor made by `sy_tensor()`, or numbers.
#' @param cluster A cluster made by [sy_cluster()]. One that is not started is started.
#' @param reveal Who may open what is computed from the tensor: with `"owner"` this session, with `"aggregate"` also
#'   others, but only sums over all rows.
#' @param min_rows How many rows a tensor must have for these sums.
#' @param name The name of a party, as in its certificate.
#' @param timeout Seconds to wait.
#' @param object A private tensor.
#' @param ... For numbers their `range`, and `reveal`, `min_rows` and `timeout`. Otherwise not used.
#' @return `sy_tensor()` an object of class `syfr_tensor`, `sy_share()` one of class `syfr_private`, invisibly.
#'   `sy_get()` a plain vector or array, `TRUE` and `FALSE` for comparisons. `sy_explain()` a data frame with a row for
#'   each operation that takes messages, and the last row for all together: `operation`, `shape`, `delays` (messages
#'   that have to be waited for), `online_kb` and `preprocessing_kb` (exchanged between the workers, in 1,000 bytes).
#'   Operations that do not wait for each other share their delays. `sy_permit()` the tensor, invisibly.
#' @seealso [tensor_operations], [sy_evaluate()], `vignette("private-evaluation", "syfr")`
#' @name sy_tensor
#' @aliases syfr_private
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   salaries <- sy_tensor(c(3.1, 2.7, 8.4), range = c(0, 16)) |> sy_share(cluster)
#'   print(salaries)
#'   high <- sum(salaries > 3)
#'   print(sy_explain(high))
#'   sy_get(high)
#' })
NULL

#' @rdname sy_tensor
#' @export
sy_tensor <- function(x, range = NULL) new_tensor(x, range, sys.call())

new_tensor <- function(x, range, call) {
  values <- as_values(x, call)
  if (!is.null(range) && !(is.numeric(range) && length(range) == 2 && all(is.finite(range)))) {
    stop_syfr("type", "`range` is not two numbers. Give the smallest and the largest.", call)
  }
  if (!is.null(range) && range[1] > range[2]) {
    stop_syfr("range", call = call, sprintf(
      "`range` goes %s, which holds nothing. Give the smallest number first.", range_text(range)
    ))
  }
  structure(list(values = values, range = range, logical = is.logical(x)), class = "syfr_tensor")
}

# Numbers with dimensions, also where these are a vector.
as_values <- function(x, call) {
  if (is.data.frame(x)) x <- as.matrix(x)
  if (is.object(x) || !(is.numeric(x) || is.logical(x)) || length(x) == 0) {
    stop_syfr("type", "A tensor holds numbers. Give a numeric vector or array with at least one element.", call)
  }
  if (!all(is.finite(x))) {
    stop_syfr("range", "A tensor holds numbers, none of them missing or infinite. Replace these first.", call)
  }
  array(as.double(x), if (is.null(dim(x))) length(x) else dim(x))
}

#' @rdname sy_tensor
#' @export
sy_share.syfr_tensor <- function(model, cluster, ..., # nolint: object_name_linter.
                                 reveal = c("owner", "aggregate"), min_rows = 1, timeout = 60) {
  share_tensor(sys.call(), model, cluster, ..., reveal = reveal, min_rows = min_rows, timeout = timeout)
}

share_tensor <- function(call, tensor, cluster, ..., reveal = reveals, min_rows = 1, timeout = 60) {
  refuse_others(call, "tensors", "?sy_tensor", ...)
  reveal <- as_choice(reveal, reveals, "reveal", call)
  python <- python_cluster(as_cluster(cluster, call), call)
  if (!python$started) sy_start(cluster)
  task <- call_python(
    call, from_r()$sharing, tensor$values, as.list(tensor$range), python, reveal, min_rows, timeout
  )
  invisible(new_private(wait_for(task, call), python, tensor$logical))
}

reveals <- c("owner", "aggregate")

share_numbers <- function(model, cluster, ..., range = NULL) {
  call <- sys.call(-2)
  share_tensor(call, new_tensor(plain_array(model), range, call), cluster, ...)
}

#' @rdname sy_tensor
#' @export
sy_share.numeric <- function(model, cluster, ...) share_numbers(model, cluster, ...) # nolint: object_name_linter.

#' @rdname sy_tensor
#' @export
sy_share.logical <- function(model, cluster, ...) share_numbers(model, cluster, ...) # nolint: object_name_linter.

#' @rdname sy_tensor
#' @export
sy_share.data.frame <- function(model, cluster, ...) share_numbers(model, cluster, ...) # nolint: object_name_linter.

#' @export
sy_share.syfr_prediction <- function(model, cluster, ...) { # nolint: object_name_linter.
  share_numbers(model, cluster, ...)
}

# A plain list, marked as an S4 object: `%*%` looks for methods of such alone before R 4.3. `logical` says whether it
# holds TRUE and FALSE, `dim` is that of an R array, NULL for a vector. The cluster's Python object is what arrays that
# meet this tensor are shared with.
new_private <- function(python, cluster, logical = FALSE) {
  shape <- as.integer(unlist(python$shape))
  parts <- list(python = python, cluster = cluster, dim = if (length(shape) > 1) shape, logical = logical)
  asS4(structure(parts, class = "syfr_private"))
}

is_private <- function(x) inherits(x, "syfr_private")

# The parts of a private tensor.
parts_of <- function(x, call, name = "x") {
  if (!is_private(x)) {
    stop_syfr("type", sprintf("`%s` is not a private tensor. Share it with sy_share() first.", name), call)
  }
  parts <- unclass(x)
  if (!is_alive(parts$python)) {
    stop_syfr("not_shared", "This tensor belongs to an R session that has ended. Share it again.", call)
  }
  parts
}

# Python is looked at when the first tensor is made; what is imported then is imported without interrupts.
from_r <- function() bundle("syfr.tensors.from_r")

# A tensor made by one of the functions of from_r.py; `like` is one of its operands.
make_private <- function(call, like, logical, name, ...) {
  new_private(call_python(call, from_r()[[name]], ...), unclass(like)$cluster, logical)
}

#' @rdname sy_tensor
#' @export
sy_get <- function(x, timeout = 60) {
  call <- sys.call()
  several <- is.list(x) && !is_private(x)
  tensors <- if (several) x else list(x)
  if (length(tensors) == 0) stop_syfr("type", "There is no tensor to open. Give one, or a list of them.", call)
  parts <- lapply(tensors, parts_of, call)
  task <- call_python(call, from_r()$getting, unname(lapply(parts, `[[`, "python")), timeout)
  found <- Map(opened, wait_for(task, call), unname(parts))
  names(found) <- names(tensors)
  if (several) found else found[[1]]
}

opened <- function(values, parts) {
  if (parts$logical) values <- values > 0.5
  if (is.null(parts$dim)) as.vector(values) else array(values, parts$dim)
}

#' @rdname sy_tensor
#' @export
sy_explain <- function(x) {
  call <- sys.call()
  rows <- call_python(call, parts_of(x, call)$python$explain)
  number <- function(name) vapply(rows, function(row) as.numeric(row[[name]]), 0)
  data.frame(
    operation = vapply(rows, `[[`, "", "operation"),
    shape = vapply(rows, function(row) paste(unlist(row$shape), collapse = " x "), ""),
    delays = number("delays"),
    online_kb = number("online_bytes") / 1000,
    preprocessing_kb = number("preprocessing_bytes") / 1000
  )
}

#' @rdname sy_tensor
#' @export
summary.syfr_private <- function(object, ...) sy_explain(object)

#' @rdname sy_tensor
#' @export
sy_permit <- function(x, name, timeout = 60) {
  call <- sys.call()
  wait_for(call_python(call, from_r()$permitting, parts_of(x, call)$python, name, timeout), call)
  invisible(x)
}

#' @export
format.syfr_tensor <- function(x, ...) {
  ends <- if (is.null(x$range)) "" else paste0(", ", range_text(x$range))
  sprintf("<tensor to share, %s%s>", shape_text(dim(x$values)), ends)
}

#' @export
print.syfr_tensor <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

#' @export
format.syfr_private <- function(x, ...) {
  parts <- unclass(x)
  if (!is_alive(parts$python)) return("<private tensor of an R session that has ended>")
  values <- if (parts$logical) "TRUE and FALSE" else range_text(unlist(parts$python$range))
  sprintf("<private tensor, %s, %s>", shape_text(unlist(parts$python$shape)), values)
}

#' @export
print.syfr_private <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

#' @importFrom utils str
#' @export
str.syfr_private <- function(object, ...) print(object)

shape_text <- function(shape) if (length(shape) == 1) paste("length", shape) else paste(shape, collapse = " x ")

range_text <- function(range) {
  ends <- format(range, digits = 3, trim = TRUE)
  sprintf("from %s to %s", ends[1], ends[2])
}

#' Put private tensors through a shared model
#'
#' What a model gives for every row of a private tensor, as a private tensor again: in front of the softmax or sigmoid
#' at the end of the model, if it has one. Serving is not needed.
#'
#' @param object A model shared by [sy_share()], with the cluster that holds the tensor.
#' @param x A private tensor, rows first, of which the last axes may be missing if they are of length one. Its range
#'   must lie within the model's `input_range`.
#' @param ... Not used.
#' @return A private tensor, see [sy_tensor()]. Nothing has run yet.
#' @seealso [sy_evaluate()]
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   data <- sy_tensor(digits$x[1:20, , , ], range = c(0, 1)) |> sy_share(cluster)
#'   target <- sy_share(digits$y[1:20], cluster)
#'   pred <- sy_argmax(predict(model, data), axis = 2)
#'   sy_get(sum(pred - 1 == target))
#' })
#' @export
predict.syfr_model <- function(object, x, ...) {
  call <- sys.call(-1)
  shared <- as_shared(object, call)$python
  make_private(call, x, FALSE, "predict", shared, parts_of(x, call)$python)
}

#' How good a shared model is
#'
#' Shares data and labels with the workers that hold a model, computes predictions and compares them on shares, batch by
#' batch, and opens the figures that were asked for and nothing else: no prediction, and no count of a single batch.
#'
#' @param model A model shared by [sy_share()].
#' @param x A numeric array, rows first, within the model's `input_range`. Axes of length one may be missing, as of
#'   [client_query_model()], but not that of the rows: keep it for a single one, with `drop = FALSE`.
#' @param y The right classes, one for each row: whole numbers from 0, as the digits of [sy_mnist()], or a factor, whose
#'   levels are the classes in their order. A model that ends in one sigmoid tells two classes, 0 and 1.
#' @param metrics Of `"accuracy"`, the share of rows whose best class is the right one; `"confusion"`, how often each
#'   class was taken for each; `"loss"`, the mean squared distance of the probabilities from the right class (the Brier
#'   score), for models that end in a softmax or sigmoid.
#' @param batch How many rows are shared and computed at a time.
#' @param timeout Seconds to wait for a batch, and for the figures.
#' @return A list with a figure for each metric, and `rows`; `confusion` is a table, right classes by rows. For one
#'   metric other than `"confusion"` a number.
#' @seealso [sy_tensor()], to put other figures together by hand.
#' @examplesIf syfr:::can_run()
#' digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
#'
#' with_sy_cluster({
#'   model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
#'   sy_evaluate(model, digits$x[1:20, , , ], digits$y[1:20])
#' })
#' @export
sy_evaluate <- function(model, x, y, metrics = "accuracy", batch = 100, timeout = 60) {
  call <- sys.call()
  shared <- as_shared(model, call)
  classes <- if (is.factor(y)) all_classes(y, shared$python$program$output_shape, call)
  if (is.factor(y)) y <- as.integer(y) - 1
  task <- call_python(
    call, from_r()$score, shared$python, as_values(x, call), as_values(y, call), as.list(metrics), batch, timeout
  )
  found <- wait_for(task, call)
  if (!is.null(found$confusion)) {
    if (is.null(classes)) classes <- seq_len(nrow(found$confusion)) - 1
    dimnames(found$confusion) <- list(right = classes, predicted = classes)
  }
  if (length(metrics) == 1 && metrics != "confusion") found[[metrics]] else found[c(metrics, "rows")]
}

# The levels of a factor, which must be those of all classes: one that is missing would make others of those behind.
all_classes <- function(y, output_shape, call) {
  outputs <- unlist(output_shape)
  classes <- max(outputs[length(outputs)], 2)
  if (nlevels(y) == classes) return(levels(y))
  stop_syfr("shape", call = call, sprintf(
    "`y` has %d levels; the model tells %d classes apart. Give a level for each, in order: factor(y, levels = ...).",
    nlevels(y), as.integer(classes)
  ))
}
