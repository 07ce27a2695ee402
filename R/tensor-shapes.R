# Moving the elements of private tensors about by public places, which costs nothing. Base R finds the places: an
# operation is done on an array of numbers of elements.

#' @export
dim.syfr_private <- function(x) unclass(x)$dim

#' @export
length.syfr_private <- function(x) as.integer(prod(unlist(unclass(x)$python$shape)))

#' @export
`dim<-.syfr_private` <- function(x, value) sy_reshape(x, if (is.null(value)) length(x) else value)

#' Other shapes of private tensors
#'
#' `sy_reshape(x, size)` does what `dim(x) <- size` does: the elements stay in their order, down the columns.
#'
#' @param x A private tensor.
#' @param size The new dimensions, as of [dim()]; one number for a vector.
#' @return A private tensor.
#' @seealso [tensor_operations]
#' @examplesIf syfr:::can_run()
#' with_sy_cluster(sy_get(sy_reshape(sy_share(1:6, cluster), c(2, 3))))
#' @export
sy_reshape <- function(x, size) {
  call <- sys.call()
  parts <- parts_of(x, call)
  whole <- is.numeric(size) && length(size) > 0 && all(is.finite(size)) && all(size >= 1 & size == round(size))
  if (!whole || prod(size) != length(x)) {
    stop_syfr("shape", call = call, sprintf(
      "A tensor of %d elements has no shape %s. Give whole numbers from 1 with that product.",
      length(x), paste(size, collapse = " x ")
    ))
  }
  make_private(call, x, parts$logical, "reshaped", parts$python, as.list(as.double(size)))
}

#' @export
t.syfr_private <- function(x) {
  if (is.null(dim(x))) return(as_row(x))
  if (length(dim(x)) == 2) return(aperm(x))
  stop_syfr("shape", "A tensor of more than two axes has no transpose. Use aperm().", sys.call(-1))
}

#' @export
aperm.syfr_private <- function(a, perm = NULL, ...) {
  call <- sys.call(-1)
  axes <- seq_along(dim(a))
  if (is.null(perm)) perm <- rev(axes)
  if (!identical(sort(as.integer(perm)), axes)) {
    stop_syfr("shape", sprintf("`perm` is %s. Give each of the %d axes once.", toString(perm), length(axes)), call)
  }
  parts <- parts_of(a, call)
  make_private(call, a, parts$logical, "axes", parts$python, as.list(perm - 1))
}

# Where the elements are in Python, whose order runs along the rows, in an array of R's shape.
places_of <- function(x) {
  size <- dim(x)
  if (is.null(size)) return(seq_len(length(x)) - 1)
  aperm(array(seq_len(length(x)) - 1, rev(size)))
}

#' @export
`[.syfr_private` <- function(x, ..., drop = TRUE) {
  call <- sys.call()
  parts <- parts_of(x, call)
  places <- places_of(x)
  # x[i] and x[i, j] as base R sees them, with arguments that are missing.
  found <- in_bounds(places[..., drop = drop], call)
  new_private(picked(parts$python, found, call), parts$cluster, parts$logical)
}

# One element; not a part of the object, which is a list.
#' @export
`[[.syfr_private` <- function(x, ...) x[..., drop = TRUE]

in_bounds <- function(places, call) {
  if (length(places) > 0 && !anyNA(places)) return(places)
  stop_syfr("shape", call = call, if (length(places) == 0) {
    "Nothing is selected, and a tensor has one element at least. Select some."
  } else {
    "An index is out of bounds. Give indices within the dimensions of the tensor."
  })
}

picked <- function(python, places, call) {
  if (is.null(dim(places))) dim(places) <- length(places)
  call_python(call, from_r()$pick, python, places)
}

#' @export
`[<-.syfr_private` <- function(x, ..., value) {
  call <- sys.call()
  parts <- parts_of(x, call)
  logical <- parts$logical && if (is_private(value)) unclass(value)$logical else is.logical(value)
  value <- as_operand(value, x, call)
  places <- places_of(x)
  added <- length(x) - 1 + seq_len(length(value))
  if (is_private(value)) added <- length(x) + c(places_of(value))
  places[...] <- added
  if (length(places) != length(x)) in_bounds(NA, call)
  if (is.null(dim(places))) dim(places) <- length(places)
  make_private(call, x, logical, "replaced", parts$python, raw_operand(value), places)
}

# The object is a list, whose parts are not the tensor's: base R would put others in their places.
no_parts <- function(call) {
  stop_syfr("type", "A private tensor has neither names nor parts. Replace elements by x[i] <- value.", call)
}

#' @export
names.syfr_private <- function(x) NULL

#' @export
`names<-.syfr_private` <- function(x, value) if (is.null(value)) x else no_parts(sys.call())

#' @export
`[[<-.syfr_private` <- function(x, i, ..., value) no_parts(sys.call())

#' @export
`$<-.syfr_private` <- function(x, name, value) no_parts(sys.call()) # nolint: object_name_linter.

#' @export
`length<-.syfr_private` <- function(x, value) no_parts(sys.call())

#' @export
c.syfr_private <- function(...) {
  tensors <- lapply(list(...), as_shared_operand, ..1, sys.call())
  joined(lapply(tensors, function(x) if (is.null(dim(x))) x else sy_reshape(x, length(x))), 1, sys.call())
}

as_shared_operand <- function(x, like, call) {
  if (is_private(x)) return(x)
  as_operand(array(x, if (is.null(dim(x))) length(x) else dim(x)), like, call)
}

joined <- function(tensors, axis, call) {
  logical <- all(vapply(tensors, function(x) parts_of(x, call)$logical, NA))
  parts <- lapply(unname(tensors), function(x) unclass(x)$python)
  make_private(call, tensors[[1]], logical, "joined", parts, axis - 1)
}

#' @export
rep.syfr_private <- function(x, ...) x[rep(seq_len(length(x)), ...)]

#' @export
rev.syfr_private <- function(x) x[rev(seq_len(length(x)))]

#' @export
cbind.syfr_private <- function(..., deparse.level = 1) bound(list(...), 2, sys.call()) # nolint: object_name_linter.

#' @export
rbind.syfr_private <- function(..., deparse.level = 1) bound(list(...), 1, sys.call()) # nolint: object_name_linter.

# Matrices side by side (axis 2) or below each other; vectors are columns or rows, recycled to the others' size.
bound <- function(given, axis, call) {
  like <- Find(is_private, given)
  tensors <- lapply(given, as_shared_operand, like, call)
  matrices <- Filter(function(x) !is.null(dim(x)), tensors)
  sizes <- vapply(matrices, function(x) dim(x)[3 - axis], 1L)
  size <- if (length(sizes) > 0) sizes[[1]] else max(vapply(tensors, length, 1L))
  tensors <- lapply(tensors, function(x) {
    if (!is.null(dim(x))) return(x)
    if (size %% length(x) != 0) {
      stop_syfr("shape", sprintf("A vector of length %d does not fit %d elements.", length(x), size), call)
    }
    column <- if (length(x) == size) x else rep(x, length.out = size)
    if (axis == 2) as_column(column) else as_row(column)
  })
  if (all(lengths(lapply(tensors, dim)) == 2) && all(sizes == size)) return(joined(tensors, axis, call))
  stop_syfr("shape", call = call, sprintf(
    "These cannot be bound: %s. Give matrices with the same number of %s.",
    toString(vapply(tensors, function(x) shape_text(dim(x)), "")), if (axis == 2) "rows" else "columns"
  ))
}

as_number_error <- "The numbers of a private tensor are known to nobody. Open it with sy_get()."

#' @export
as.double.syfr_private <- function(x, ...) stop_syfr("type", as_number_error, sys.call())

#' @export
as.matrix.syfr_private <- function(x, ...) {
  if (length(dim(x)) > 2) {
    stop_syfr("shape", "A tensor of more than two axes is no matrix. Use sy_reshape().", sys.call(-1))
  }
  as_private_matrix(x)
}

#' @export
as.integer.syfr_private <- function(x, ...) stop_syfr("type", as_number_error, sys.call())

#' @export
as.logical.syfr_private <- function(x, ...) stop_syfr("type", as_number_error, sys.call())

#' @export
as.character.syfr_private <- function(x, ...) stop_syfr("type", as_number_error, sys.call())
