# Errors and messages. Every error that syfr raises has the class syfr_error_<code>, with the codes of
# inst/python/syfr/errors.py, so that tryCatch() can tell them apart on every version of reticulate.

#' Errors of syfr
#'
#' @description
#' Every error that syfr raises says in one sentence what is wrong and in the next what to do. It has the class
#' `syfr_error` and one that tells what happened, so that [tryCatch()] can select it.
#'
#' | class | what is wrong |
#' |---|---|
#' | `syfr_error_shape` | an array does not have the shape the model asks for |
#' | `syfr_error_range` | a value is NA, NaN, infinite, or outside the declared input range |
#' | `syfr_error_type` | an argument has a type that cannot be used here |
#' | `syfr_error_unsupported_layer` | a layer of the model, or one of its arguments, cannot be computed privately |
#' | `syfr_error_range_check` | a value inside the network could leave the range that fixed point can hold |
#' | `syfr_error_not_served` | the model is shared, but no request is open for it |
#' | `syfr_error_busy` | a worker has as many queries waiting as it takes |
#' | `syfr_error_not_shared` | the model has not been shared with the workers |
#' | `syfr_error_not_connected` | a query was made before the client was connected |
#' | `syfr_error_credentials` | a key or certificate is missing, expired, unsafe on disk, or of another cluster |
#' | `syfr_error_refused` | a worker refused, because the asker's certificate does not allow what was asked |
#' | `syfr_error_protocol` | a message does not belong where it arrived, or two workers disagree |
#' | `syfr_error_deadline` | a call did not end before its timeout |
#' | `syfr_error_closed` | the connection or the object has been closed |
#' | `syfr_error_worker` | a worker failed; also the three that follow |
#' | `syfr_error_not_ready` | a worker has no link to another one, or is stopping; try again |
#' | `syfr_error_unreachable` | a worker does not answer at its address |
#' | `syfr_error_port_in_use` | the address of a worker is taken by another program |
#' | `syfr_error_package` | an R package that is only suggested, and needed here, is not installed |
#' | `syfr_error_python` | Python, or a package it needs, is missing; or something unforeseen happened in Python |
#'
#' @name syfr_errors
#' @aliases syfr_error
#' @examples
#' tryCatch(
#'   sy_worker("localhost:99999"),
#'   syfr_error_type = function(e) conditionMessage(e)
#' )
NULL

# Raise an error of class syfr_error_<code>; further codes name more general classes, most special first.
stop_syfr <- function(codes, message, call = sys.call(-1), ...) {
  classes <- c(paste0("syfr_error_", setdiff(codes, "error")), "syfr_error", "error", "condition")
  stop(structure(class = classes, list(message = message, call = call, ...)))
}

# Refuse to go on without an R package that is only suggested.
need_package <- function(package, whose, call) {
  if (requireNamespace(package, quietly = TRUE)) return(invisible())
  stop_syfr("package", call = call, sprintf(
    "%s needs the R package %s. Install it with install.packages(\"%s\").", whose, package, package
  ))
}

# Call a Python function; what it raises becomes an R condition of class syfr_error_<code>. Why it comes back as data is
# told in inst/python/syfr/face/calls.py.
call_python <- function(call, fun, ...) {
  missing <- vapply(list(...), has_na, NA)
  if (any(missing)) refuse_na(as.list(substitute(list(...)))[-1][missing], list(...)[missing], call)
  attempt <- bundle("attempt")
  value_of(suspendInterrupts(attempt(fun, ...)), call)
}

# Whether Python would take an NA for something else: a logical one is True there, one among texts the text "NA". Arrays
# of data are looked at where they are used.
has_na <- function(x) {
  if (is.list(x) && !is.object(x)) return(any(vapply(x, has_na, NA)))
  is.atomic(x) && is.null(dim(x)) && anyNA(x)
}

# The first argument with an NA is named as it is passed on: by its name, or by the variable that it is made of.
refuse_na <- function(expressions, values, call) {
  expression <- expressions[[1]]
  parts <- if (is.call(expression) && expression[[1]] == "$") as.character(expression[[3]]) else all.vars(expression)
  name <- c(setdiff(names(expressions)[1], ""), parts)[1]
  stop_syfr("type", call = call, if (identical(is.na(values[[1]]), TRUE)) {
    sprintf("`%s` is NA. Give a value.", name)
  } else {
    sprintf("`%s` has NA in it. Give values that are not missing.", name)
  })
}

# The value in an outcome that Python hands over; an error becomes a condition.
value_of <- function(outcome, call) {
  if (is.null(outcome$codes)) return(outcome$value)
  if (length(outcome$codes) > 0) stop_syfr(outcome$codes, outcome$message, call)
  stop_syfr("python", paste("Python raised", outcome$message), call, python_trace = outcome$trace)
}
