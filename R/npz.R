# Reading NumPy's files: an .npz is a zip of .npy files, each a header in Python's syntax and the numbers.
# The format: numpy.lib.format, versions 1.0 to 3.0.

# The arrays of an .npz file, by name. Unsigned bytes stay raw, so that a large set of images stays small.
read_npz <- function(path, call = sys.call(-1)) {
  folder <- tempfile("npz")
  on.exit(unlink(folder, recursive = TRUE))
  files <- tryCatch(utils::unzip(path, exdir = folder), warning = function(w) character())
  files <- files[endsWith(files, ".npy")]
  if (length(files) == 0) {
    stop_syfr("type", sprintf("%s is not an .npz file. Give the path of an mnist.npz.", path), call)
  }
  arrays <- lapply(files, read_npy, call = call)
  stats::setNames(arrays, sub("\\.npy$", "", basename(files)))
}

read_npy <- function(path, call) {
  file <- file(path, "rb")
  on.exit(close(file))
  magic <- readBin(file, "raw", 8)
  wide <- as.integer(magic[7]) > 1
  length <- readBin(file, "integer", 1, size = if (wide) 4 else 2, signed = wide, endian = "little")
  header <- rawToChar(readBin(file, "raw", length))
  field <- function(pattern) regmatches(header, regexec(pattern, header))[[1]][2]
  type <- field("'descr': *'([^']+)'")
  sizes <- field("'shape': *\\(([^)]*)\\)")
  shape <- as.integer(regmatches(sizes, gregexpr("[0-9]+", sizes))[[1]])
  count <- prod(shape)
  values <- switch(type,
    "|u1" = readBin(file, "raw", count),
    "<i4" = readBin(file, "integer", count, size = 4, endian = "little"),
    "<i8" = read_int64(file, count),
    "<f4" = readBin(file, "double", count, size = 4, endian = "little"),
    "<f8" = readBin(file, "double", count, size = 8, endian = "little"),
    stop_syfr("type", sprintf("%s holds numbers of type %s, which are not read here.", basename(path), type), call)
  )
  if (length(shape) < 2) return(values)
  if (field("'fortran_order': *(True|False)") == "True") return(array(values, shape))
  # The last axis varies fastest in C order, the first in R's.
  aperm(array(values, rev(shape)))
}

# Labels are often 64-bit; they are small, so that the low half of each tells all.
read_int64 <- function(file, count) {
  readBin(file, "integer", 2 * count, size = 4, endian = "little")[c(TRUE, FALSE)]
}
