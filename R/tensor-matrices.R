# Matrix products and sums of rows and columns. R before 4.3 has no S3 methods for them, so these are S4 methods, and
# private tensors are marked as S4 objects.

#' @importFrom methods setGeneric setMethod setOldClass show
setOldClass("syfr_private")

#' @rdname tensor_operations
#' @export
setMethod("show", "syfr_private", function(object) print(object))

matrix_product <- function(x, y, call) {
  like <- if (is_private(x)) x else y
  both <- as_matrices(as_matrix_operand(x, like, call), as_matrix_operand(y, like, call))
  sizes <- lapply(both, dim)
  if (all(lengths(sizes) == 2) && sizes[[1]][2] == sizes[[2]][1]) {
    python <- lapply(both, raw_operand)
    return(make_private(call, like, FALSE, "binary", "%*%", python[[1]], python[[2]]))
  }
  stop_syfr("shape", call = call, sprintf(
    "Matrices of %s and %s cannot be multiplied. The first needs as many columns as the second has rows.",
    shape_text(sizes[[1]]), shape_text(sizes[[2]])
  ))
}

# A vector is the row or the column that fits; two of the same length give their inner product.
as_matrices <- function(x, y) {
  if (is.null(dim(x))) {
    rows <- if (is.null(dim(y))) length(y) else nrow(y)
    x <- if (length(x) == rows) as_row(x) else as_column(x)
  }
  if (is.null(dim(y))) y <- if (length(y) == ncol(x)) as_column(y) else as_row(y)
  list(x, y)
}

# Shared, also where it is a single number.
as_matrix_operand <- function(x, like, call) {
  if (is_private(x)) return(x)
  if (is.null(dim(x))) dim(x) <- length(x)
  as_operand(x, like, call)
}

as_row <- function(x) sy_reshape(x, c(1, length(x)))
as_column <- function(x) sy_reshape(x, c(length(x), 1))

# A vector is a column.
as_private_matrix <- function(x) if (is.null(dim(x))) matrix_column(x) else x
matrix_column <- function(x) if (is_private(x)) as_column(x) else as.matrix(x)

#' @rdname tensor_operations
#' @export
setMethod("%*%", c("syfr_private", "ANY"), function(x, y) matrix_product(x, y, sys.call()))

#' @rdname tensor_operations
#' @export
setMethod("%*%", c("ANY", "syfr_private"), function(x, y) matrix_product(x, y, sys.call()))

#' @rdname tensor_operations
#' @export
setMethod("%*%", c("syfr_private", "syfr_private"), function(x, y) matrix_product(x, y, sys.call()))

cross_product <- function(x, y, call) {
  if (is.null(y)) y <- x
  matrix_product(t(as_private_matrix(x)), as_private_matrix(y), call)
}

crossed_product <- function(x, y, call) {
  if (is.null(y)) y <- x
  matrix_product(as_private_matrix(x), t(as_private_matrix(y)), call)
}

#' @rdname tensor_operations
#' @export
setMethod("crossprod", c("syfr_private", "ANY"), function(x, y = NULL) cross_product(x, y, sys.call()))

#' @rdname tensor_operations
#' @export
setMethod("crossprod", c("ANY", "syfr_private"), function(x, y = NULL) cross_product(x, y, sys.call()))

#' @rdname tensor_operations
#' @export
setMethod("tcrossprod", c("syfr_private", "ANY"), function(x, y = NULL) crossed_product(x, y, sys.call()))

#' @rdname tensor_operations
#' @export
setMethod("tcrossprod", c("ANY", "syfr_private"), function(x, y = NULL) crossed_product(x, y, sys.call()))

# `dims` axes are rows; `last` says whether the others stay.
sums_of <- function(x, dims, last, mean, call) {
  if (length(dim(x)) < 2) {
    stop_syfr("shape", "`x` is no matrix or array of two axes at least. Use sum() or mean().", call)
  }
  if (!(is.numeric(dims) && length(dims) == 1 && dims %in% seq_len(length(dim(x)) - 1))) {
    stop_syfr("shape", sprintf("`dims` is %s. Give a number of axes below that of `x`.", toString(dims)), call)
  }
  make_private(call, x, FALSE, "summed", parts_of(x, call)$python, dims, last, mean)
}

#' @rdname tensor_operations
#' @export
setMethod("rowSums", "syfr_private", function(x, na.rm = FALSE, dims = 1L) { # nolint: object_name_linter.
  sums_of(x, dims, FALSE, FALSE, sys.call())
})

#' @rdname tensor_operations
#' @export
setMethod("colSums", "syfr_private", function(x, na.rm = FALSE, dims = 1L) { # nolint: object_name_linter.
  sums_of(x, dims, TRUE, FALSE, sys.call())
})

#' @rdname tensor_operations
#' @export
setMethod("rowMeans", "syfr_private", function(x, na.rm = FALSE, dims = 1L) { # nolint: object_name_linter.
  sums_of(x, dims, FALSE, TRUE, sys.call())
})

#' @rdname tensor_operations
#' @export
setMethod("colMeans", "syfr_private", function(x, na.rm = FALSE, dims = 1L) { # nolint: object_name_linter.
  sums_of(x, dims, TRUE, TRUE, sys.call())
})
