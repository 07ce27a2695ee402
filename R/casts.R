# What an R user may write, made ready for Python, which does the checking (inst/python/syfr/face/arguments.py).

is_python <- function(x) inherits(x, "python.builtin.object")

# Whether x is a Python object that still lives: one that was saved and read again does not.
is_alive <- function(x) is_python(x) && !reticulate::py_is_null_xptr(x)

# A shape, batch first, or a list of them for several inputs or outputs. An open batch is NA or NULL in R and None in
# Python.
as_shape <- function(x) {
  if (is.list(x) && any(lengths(x) > 1)) return(lapply(x, as_shape))
  if (!is.list(x) && !is.numeric(x)) return(x)
  if (anyNA(x)) lapply(x, function(size) if (!identical(is.na(size), TRUE)) size) else x
}

# The rows of a query, or a list of them for a model of several inputs, by their names or in order. Integers become
# doubles, since NA is an ordinary number among Python's integers.
as_rows <- function(x) {
  if (is.data.frame(x)) x <- as.matrix(x)
  if (is.list(x)) return(lapply(x, as_rows))
  if (is_python(x) || !(is.numeric(x) || is.logical(x))) return(x)
  if (!is.double(x)) storage.mode(x) <- "double"
  if (is.null(dim(x))) dim(x) <- length(x)
  x
}

as_flag <- function(x, name, call = sys.call(-1)) {
  if (isTRUE(x) || isFALSE(x)) return(x)
  stop_syfr("type", sprintf("`%s` is neither TRUE nor FALSE. Give one of the two.", name), call)
}

# A single text that is not empty.
as_text <- function(x, name, call, give = "Give one that is not empty.") {
  if (is.character(x) && length(x) == 1 && !is.na(x) && nzchar(x)) return(x)
  stop_syfr("type", sprintf("`%s` is not a single text. %s", name, give), call)
}

text_or_null <- function(x, name, call) if (!is.null(x)) as_text(x, name, call)

# One of some words, of which the first is the default.
as_choice <- function(x, choices, name, call) {
  if (identical(x, choices)) return(choices[1])
  if (is.character(x) && length(x) == 1 && x %in% choices) return(x)
  stop_syfr("type", call = call, sprintf(
    "`%s` is none of %s. Give one of them.", name, paste0("\"", choices, "\"", collapse = ", ")
  ))
}

# Refuse what a method of sy_share() has no argument for: it must take `...`, where a name that is misspelt would go.
refuse_others <- function(call, what, help, ...) {
  if (...length() == 0) return(invisible())
  name <- names(substitute(list(...)))[2]
  given <- if (length(name) == 0 || is.na(name) || name == "") "An argument without a name" else sprintf("`%s`", name)
  stop_syfr("type", call = call, sprintf(
    "%s is not an argument of sy_share() for %s. See %s for those that are.", given, what, help
  ))
}
