# The images of handwritten digits that the examples use. The file is read without Python.

#' MNIST, the handwritten digits
#'
#' Reads MNIST as arrays that Keras and [client_query_model()] take.
#'
#' The data come from the first of these that there is: the file `path`; the file that the variable SYFR_MNIST
#' names; Keras's own copy, which its loader downloads once (11 MB); the sample that comes with syfr: the first 1,000
#' test images and no training images. The download runs in a process of its own and needs Keras in the Python
#' environment.
#'
#' MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges, made from NIST's Special Databases 1 and 3, and
#' under the license CC BY-SA 3.0.
#'
#' @param path A file `mnist.npz` with Keras's names: `x_train`, `y_train`, `x_test`, `y_test`.
#' @return `list(train = list(x, y), test = list(x, y))`: `x` is an array of n x 28 x 28 x 1 numbers from 0 to 1, `y`
#'   the digits, integers from 0 to 9. When the sample is all there is, `$train` is an error that says what to do.
#' @references LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998) Gradient-based learning applied to document
#'   recognition. *Proceedings of the IEEE* 86(11), 2278--2324. \doi{10.1109/5.726791}
#' @examples
#' mnist <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))
#' dim(mnist$test$x)
#' image(t(mnist$test$x[1, 28:1, , 1]), col = gray.colors(32), axes = FALSE, asp = 1)
#' @export
sy_mnist <- function(path = NULL) {
  call <- sys.call()
  if (is.null(path)) path <- find_mnist()
  as_text(path, "path", call, "Give the path of an mnist.npz.")
  if (!file.exists(path)) {
    stop_syfr("type", sprintf("There is no file %s. Give the path of an mnist.npz.", path), call)
  }
  arrays <- read_npz(path, call)
  sets <- c(train = "x_train", test = "x_test")
  sets <- names(sets)[sets %in% names(arrays)]
  mnist <- lapply(stats::setNames(sets, sets), function(set) {
    x <- arrays[[paste0("x_", set)]]
    list(x = array(as.integer(x) / 255, c(dim(x), 1)), y = as.integer(arrays[[paste0("y_", set)]]))
  })
  structure(mnist, class = "syfr_mnist")
}

#' @export
`$.syfr_mnist` <- function(x, name) x[[name]]

#' @export
`[[.syfr_mnist` <- function(x, i) {
  if (identical(i, "train") && !"train" %in% names(x)) {
    stop_syfr("type", call = NULL, paste(
      "This sample of MNIST has no training images. Install Keras with install_syfr(), or set the variable SYFR_MNIST",
      "to a full mnist.npz, and call sy_mnist() again."
    ))
  }
  unclass(x)[[i]]
}

#' @export
format.syfr_mnist <- function(x, ...) {
  sizes <- vapply(unclass(x), function(set) length(set$y), integer(1))
  c("<MNIST>", sprintf("  $%-5s %d images", names(sizes), sizes))
}

#' @export
print.syfr_mnist <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

find_mnist <- function() {
  named <- Sys.getenv("SYFR_MNIST")
  if (nzchar(named)) return(named)
  keras <- keras_mnist()
  if (file.exists(keras) || (download_mnist() && file.exists(keras))) return(keras)
  if (!quiet()) cli::cli_alert_info("The full MNIST is not here; using the first 1,000 test images.")
  system.file("extdata", "mnist-sample.npz", package = "syfr", mustWork = TRUE)
}

# Where Keras keeps its copy. It is only ever read: Keras deletes a file there that it does not know.
keras_mnist <- function() {
  home <- Sys.getenv("KERAS_HOME", file.path("~", ".keras"))
  path.expand(file.path(home, "datasets", "mnist.npz"))
}

# Have Keras download its copy, in a process of its own: this session needs no Keras and stays interruptible.
download_mnist <- function(seconds = 120) {
  python <- tryCatch(reticulate::py_discover_config()$python, error = function(e) NULL)
  if (is.null(python)) return(FALSE)
  search_libraries_of(python)
  loader <- "import socket; socket.setdefaulttimeout(20); from keras.datasets import mnist; mnist.load_data()"
  arguments <- c("-c", shQuote(loader))
  suppressWarnings(system2(python, arguments, stdout = FALSE, stderr = FALSE, timeout = seconds)) == 0
}
