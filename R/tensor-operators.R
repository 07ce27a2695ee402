# R's operators and functions on private tensors. Each makes a tensor and runs nothing, except that an array that is
# public is shared.

#' Computing with private tensors
#'
#' @description
#' R's operators and functions take private tensors (see [sy_tensor()]), alone and together with plain numbers and
#' arrays, and mean what they mean for arrays: vectors are recycled down the columns, arrays must have the same
#' dimensions, axes and places count from 1. What does not fit is an error of class `syfr_error_shape`.
#'
#' Plain arrays that meet a tensor are shared first, within the powers of two around them; single numbers stay public.
#'
#' @section Operations:
#' The unit is \eqn{2^{-14}}, about 0.00006. "Exact" holds for what was shared, which sharing rounds to a multiple of
#' it.
#'
#' | operation | worst error | remarks |
#' |---|---|---|
#' | `+` `-` | exact | a public number is rounded to a unit |
#' | `*` `%*%` `crossprod()` `tcrossprod()` | 1 unit | exact with a public whole number |
#' | `/` by a public number | 1 unit, and that of the inverse | |
#' | `^` whole powers from 1 | 1 unit a product, multiplied along | |
#' | `>` `>=` `<` `<=` | exact | |
#' | `==` `!=` | equal if 8 units apart or less | what is further apart is told apart exactly |
#' | `!` `&` `\|` | exact | other numbers than `TRUE` and `FALSE` are compared with 0 |
#' | `sum()` `rowSums()` `colSums()` | exact | |
#' | `mean()` `rowMeans()` `colMeans()` | 1 unit, and that of the inverse, times the sum | |
#' | `max()` `min()` `range()` `any()` `all()` `sy_max()` `sy_min()` `sy_pmax()` `sy_pmin()` | exact | |
#' | `abs()` `sign()` `sy_relu()` | exact | |
#' | `sy_argmax()` `sy_argmin()` | exact | the first of equal ones; magnitudes below 4096 |
#' | `sy_sort()` `sort()` `sy_top_k()` | values 1 unit, places exact | of 2 to 256 elements; magnitudes below 4096 |
#' | `exp()` | see below | arguments below 8.3 |
#' | `log()` `log2()` `log10()` | see below | arguments from 1/1024 |
#' | `sqrt()` | see below | arguments from 0 |
#' | `/` by a tensor | that of the inverse, see below, times the other | divisors from 1/1024, or up to -1/1024 |
#' | `sy_sigmoid()` `tanh()` | 0.005 | |
#' | `sy_conv2d()` | 1 unit | rows x height x width x channels; no padding |
#' | `sy_softmax()` | 0.001 | magnitudes below 4096 |
#' | `sy_ifelse()` | 1 unit | |
#' | `[` `[<-` `c()` `cbind()` `rbind()` `t()` `aperm()` `dim<-` `rev()` `rep()` | exact, and free | by public places |
#'
#' `exp()`, `log()`, `sqrt()` and the inverse are straight lines between 48 points, which are chosen for the range of
#' their argument: a tight range of what is shared makes them better.
#'
#' | function | worst error, for arguments within |
#' |---|---|
#' | `exp()` | 0.0002 from -8 to 1, 0.007 from -4 to 4, 0.6 from -8 to 8 |
#' | `log()` | 0.0003 from 1 to 16, 0.001 from 0.01 to 1, 0.01 from 1/1024 to 8000 |
#' | `sqrt()` | 0.0005 from 0 to 1, 0.003 from 0 to 16, 0.007 from 0 to 1000 |
#' | inverse | 0.0002 from 0.5 to 16, 0.002 from 0.1 to 10 |
#'
#' `c(x, 1)` joins elements to those of a tensor; in `c(1, x)`, where the tensor is not the first, base R knows nothing
#' of it.
#'
#' Other members of the groups Ops, Math and Summary are refused by name.
#'
#' @section Matrix products:
#' `%*%`, `crossprod()`, `tcrossprod()`, `rowSums()` and its relatives have no S3 methods in R before 4.3. Private
#' tensors have S4 methods for them, so that other objects are computed by base R as ever.
#'
#' @param x,y,test,yes,no,object A private tensor; one operand of several may be a plain number or array.
#' @param axis Which axis to go along, from 1; it goes. `NULL`: all elements, down the columns. For `sy_softmax()` the
#'   last.
#' @param kernel Of a convolution: height x width x channels in x channels out.
#' @param stride By how many places a kernel moves.
#' @param k How many.
#' @param decreasing The largest first?
#' @param dims `rowSums()`: how many axes are rows.
#' @param na.rm Not used: tensors have no missing elements.
#' @return A private tensor. `sy_top_k()` a list of two: `values`, the `k` largest along the axis, and `places`, from 1.
#' @seealso [sy_tensor()]
#' @name tensor_operations
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   x <- sy_share(matrix(c(1.5, -2, 3, 0.25), 2), cluster)
#'   y <- sy_share(c(2, 1), cluster)
#'   sy_get(list(product = x * y, sums = rowSums(x), larger = x > y, best = sy_argmax(x, axis = 2)))
#' })
NULL

# What an operation is made of: private tensors and single public numbers, in shapes that NumPy takes for the same. An
# array is shared with the workers of `like`.
as_operand <- function(x, like, call) {
  if (is_private(x)) {
    parts_of(x, call)
    return(x)
  }
  values <- as_values(plain_array(x), call)
  if (length(values) == 1 && is.null(dim(x))) return(as.double(values))
  cluster <- unclass(like)$cluster
  task <- call_python(call, from_r()$sharing, values, NULL, cluster, "owner", 1, 60)
  new_private(wait_for(task, call), cluster, is.logical(x))
}

raw_operand <- function(x) if (is_private(x)) unclass(x)$python else x

# Two or more operands in one shape, as base R recycles them; ready for Python.
fitted_operands <- function(operands, call, size = common_size(operands, call)) {
  force(size)
  lapply(operands, function(x) {
    python <- raw_operand(x)
    if (!is_private(x) || length(x) == 1 || !is.null(dim(x)) || identical(as.integer(length(x)), as.integer(size))) {
      return(python)
    }
    call_python(call, from_r()$recycled, python, as.list(size))
  })
}

# The dimensions of what an operator gives, or the length of the vector.
common_size <- function(operands, call) {
  arrays <- unique(Filter(Negate(is.null), lapply(operands, dim)))
  lengths <- vapply(operands, length, 1)
  if (length(arrays) > 1) {
    stop_syfr("shape", call = call, sprintf(
      "Arrays of %s and %s do not fit together. Give both the same dimensions.",
      shape_text(arrays[[1]]), shape_text(arrays[[2]])
    ))
  }
  size <- if (length(arrays) == 1) arrays[[1]] else max(lengths)
  if (all(prod(size) %% lengths == 0)) return(size)
  stop_syfr("shape", call = call, sprintf(
    "A vector of length %d does not fit an array of %s, as it does not go into it a whole number of times.",
    lengths[prod(size) %% lengths != 0][1], shape_text(size)
  ))
}

comparisons <- c("==", "!=", "<", "<=", ">", ">=")

#' @export
Ops.syfr_private <- function(e1, e2) {
  call <- sys.call()
  if (missing(e2)) return(unary_operator(.Generic, e1, call))
  like <- if (is_private(e1)) e1 else e2
  if (.Generic == "^") return(private_power(e1, e2, call))
  if (!.Generic %in% c("+", "-", "*", "/", "&", "|", comparisons)) refuse_operation(.Generic, call)
  # The inverse of what is public is public.
  if (.Generic == "/" && is.numeric(e2)) return(divided(e1, e2, call))
  operands <- list(as_operand(e1, like, call), as_operand(e2, like, call))
  if (.Generic %in% c("&", "|")) operands <- lapply(operands, as_truth, call)
  fitted <- fitted_operands(operands, call)
  name <- switch(.Generic, `&` = "both", `|` = "either")
  if (!is.null(name)) return(make_private(call, like, TRUE, name, fitted[[1]], fitted[[2]]))
  make_private(call, like, .Generic %in% comparisons, "binary", .Generic, fitted[[1]], fitted[[2]])
}

divided <- function(x, number, call) {
  if (!any(number == 0)) return(x * (1 / number))
  stop_syfr("range", "A private tensor cannot be divided by zero. Give numbers that are not zero.", call)
}

unary_operator <- function(name, x, call) {
  switch(name,
    `+` = x,
    `-` = make_private(call, x, FALSE, "binary", "-", 0, parts_of(x, call)$python),
    `!` = make_private(call, x, TRUE, "binary", "-", 1, raw_operand(as_truth(x, call)))
  )
}

# TRUE and FALSE, as R makes them of numbers.
as_truth <- function(x, call) {
  if (!is_private(x)) return(as.double(x != 0))
  if (parts_of(x, call)$logical) return(x)
  make_private(call, x, TRUE, "binary", "!=", unclass(x)$python, 0)
}

private_power <- function(x, power, call) {
  if (is_private(x) && is.numeric(power) && length(power) == 1) {
    return(make_private(call, x, FALSE, "power", parts_of(x, call)$python, as.double(power)))
  }
  stop_syfr("type", "A private tensor can be raised to a public whole power from 1 alone. Give one number.", call)
}

refuse_operation <- function(name, call) {
  stop_syfr("type", call = call, sprintf(
    "`%s` is not computed on private tensors. See ?tensor_operations for what is.", name
  ))
}

#' @export
Math.syfr_private <- function(x, ...) {
  call <- sys.call()
  python <- parts_of(x, call)$python
  if (.Generic %in% c("abs", "sign", "exp", "sqrt", "tanh")) {
    return(make_private(call, x, FALSE, "unary", .Generic, python))
  }
  base <- switch(.Generic, log = if (...length() > 0) ..1 else exp(1), log2 = 2, log10 = 10)
  if (is.null(base)) refuse_operation(.Generic, call)
  found <- make_private(call, x, FALSE, "unary", "log", python)
  if (base == exp(1)) found else found / log(base)
}

#' @export
Summary.syfr_private <- function(..., na.rm = FALSE) { # nolint: object_name_linter.
  call <- sys.call()
  operands <- list(...)
  if (.Generic == "prod") refuse_operation(.Generic, call)
  if (.Generic == "range") return(c(min(...), max(...)))
  if (.Generic %in% c("any", "all")) {
    # Whether one is TRUE, or none is FALSE.
    every <- .Generic == "all"
    counts <- lapply(operands, function(x) sum(if (every) !x else x != 0))
    total <- Reduce(`+`, counts)
    return(if (every) total < 0.5 else total > 0.5)
  }
  over_all <- function(x) {
    if (!is_private(x)) return(do.call(.Generic, list(x)))
    make_private(call, x, FALSE, "along", .Generic, parts_of(x, call)$python, NULL)
  }
  pairwise <- switch(.Generic, sum = `+`, max = sy_pmax, min = sy_pmin)
  Reduce(pairwise, lapply(operands, over_all))
}

#' @export
mean.syfr_private <- function(x, ...) {
  call <- sys.call(-1)
  make_private(call, x, FALSE, "along", "mean", parts_of(x, call)$python, NULL)
}

# An operation along an axis, which goes.
along_axis <- function(name, x, axis, call) {
  make_private(call, x, FALSE, "along", name, parts_of(x, call)$python, axis_from_zero(x, axis, call))
}

axis_from_zero <- function(x, axis, call) {
  if (is.null(axis)) return(NULL)
  axes <- max(1, length(dim(x)))
  if (is.numeric(axis) && length(axis) == 1 && axis %in% seq_len(axes)) return(axis - 1)
  stop_syfr("shape", call = call, sprintf(
    "`axis` is %s, and the tensor has %d. Give one of them, counted from 1.", toString(axis), axes
  ))
}

#' @rdname tensor_operations
#' @export
sy_argmax <- function(x, axis = NULL) along_axis("argmax", x, axis, sys.call()) + 1

#' @rdname tensor_operations
#' @export
sy_argmin <- function(x, axis = NULL) {
  call <- sys.call()
  parts_of(x, call)
  along_axis("argmax", -x, axis, call) + 1
}

#' @rdname tensor_operations
#' @export
sy_max <- function(x, axis = NULL) along_axis("max", x, axis, sys.call())

#' @rdname tensor_operations
#' @export
sy_min <- function(x, axis = NULL) along_axis("min", x, axis, sys.call())

#' @rdname tensor_operations
#' @export
sy_pmax <- function(x, y) {
  call <- sys.call()
  if (!is_private(x) && !is_private(y)) return(pmax(x, y))
  like <- if (is_private(x)) x else y
  fitted <- fitted_operands(list(as_operand(x, like, call), as_operand(y, like, call)), call)
  make_private(call, like, FALSE, "maximum", fitted[[1]], fitted[[2]])
}

#' @rdname tensor_operations
#' @export
sy_pmin <- function(x, y) -sy_pmax(-x, -y)

#' @rdname tensor_operations
#' @export
sy_ifelse <- function(test, yes, no) {
  call <- sys.call()
  parts_of(test, call, "test")
  operands <- list(as_truth(test, call), as_operand(yes, test, call), as_operand(no, test, call))
  size <- if (is.null(dim(test))) length(test) else dim(test)
  if (!identical(as.integer(common_size(operands, call)), as.integer(size))) {
    stop_syfr("shape", "`yes` and `no` have more elements than `test`. Give one for each, or fewer.", call)
  }
  fitted <- fitted_operands(operands, call, size)
  make_private(call, test, FALSE, "where", fitted[[1]], fitted[[2]], fitted[[3]])
}

#' @rdname tensor_operations
#' @export
sy_relu <- function(x) named_function("relu", x, sys.call())

#' @rdname tensor_operations
#' @export
sy_sigmoid <- function(x) named_function("sigmoid", x, sys.call())

#' @rdname tensor_operations
#' @export
sy_softmax <- function(x, axis = NULL) {
  call <- sys.call()
  along_axis("softmax", x, if (is.null(axis)) last_axis(x) else axis, call)
}

last_axis <- function(x) max(1, length(dim(x)))

#' @rdname tensor_operations
#' @export
sy_sort <- function(x, axis = NULL, decreasing = FALSE) {
  call <- sys.call()
  decreasing <- as_flag(decreasing, "decreasing", call)
  if (is.null(axis)) x <- sy_reshape(x, length(x))
  place <- if (is.null(axis)) 0 else axis_from_zero(x, axis, call)
  make_private(call, x, FALSE, "ordered", parts_of(x, call)$python, place, decreasing)
}

#' @export
sort.syfr_private <- function(x, decreasing = FALSE, ...) sy_sort(x, decreasing = decreasing)

#' @rdname tensor_operations
#' @export
sy_top_k <- function(x, k, axis = NULL) {
  call <- sys.call()
  parts <- parts_of(x, call)
  place <- axis_from_zero(x, if (is.null(axis)) last_axis(x) else axis, call)
  found <- call_python(call, from_r()$largest, parts$python, k, place)
  stats::setNames(lapply(found, new_private, parts$cluster), c("values", "places"))
}

named_function <- function(name, x, call) make_private(call, x, FALSE, "unary", name, parts_of(x, call)$python)

#' @rdname tensor_operations
#' @export
sy_conv2d <- function(x, kernel, stride = 1) {
  call <- sys.call()
  like <- if (is_private(x)) x else kernel
  parts_of(like, call)
  python <- lapply(list(x, kernel), function(operand) raw_operand(as_operand(operand, like, call)))
  make_private(call, like, FALSE, "convolved", python[[1]], python[[2]], stride)
}
