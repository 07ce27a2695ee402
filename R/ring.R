# Whole numbers modulo 2^64 in plain R, exactly: four digits of base 2^16 in the columns of a matrix, lowest first, a
# row for each number. Doubles hold whole numbers up to 2^53, so that products and sums of digits are exact.

ring_digits <- 4
ring_base <- 2^16

# Bring digits below the base again; what goes beyond 2^64 is gone.
ring_carry <- function(x) {
  carry <- 0
  for (digit in seq_len(ring_digits)) {
    sum <- x[, digit] + carry
    carry <- floor(sum / ring_base)
    x[, digit] <- sum - carry * ring_base
  }
  x
}

# One number beside many is used for each of them.
ring_recycle <- function(x, rows) if (nrow(x) == rows) x else x[rep_len(1, rows), , drop = FALSE]

ring_add <- function(x, y) {
  rows <- max(nrow(x), nrow(y))
  ring_carry(ring_recycle(x, rows) + ring_recycle(y, rows))
}

ring_negate <- function(x) {
  x <- ring_base - 1 - x
  x[, 1] <- x[, 1] + 1
  ring_carry(x)
}

ring_subtract <- function(x, y) ring_add(x, ring_negate(y))

# As learnt at school: each digit by each digit. At most four products below 2^32 meet in one place.
ring_multiply <- function(x, y) {
  rows <- max(nrow(x), nrow(y))
  x <- ring_recycle(x, rows)
  y <- ring_recycle(y, rows)
  product <- matrix(0, rows, ring_digits)
  for (i in seq_len(ring_digits)) {
    for (j in seq_len(ring_digits - i + 1)) {
      product[, i + j - 1] <- product[, i + j - 1] + x[, i] * y[, j]
    }
  }
  ring_carry(product)
}

# Each of the 2^64 numbers with the same probability.
ring_random <- function(rows) {
  bytes <- openssl::rand_bytes(2 * ring_digits * rows)
  matrix(as.double(readBin(bytes, "integer", ring_digits * rows, size = 2, signed = FALSE)), rows)
}

# Whole numbers up to 2^53 either way; negative ones from the upper half.
ring_encode <- function(values) {
  rest <- abs(values)
  digits <- matrix(0, length(values), ring_digits)
  for (digit in seq_len(ring_digits)) {
    digits[, digit] <- rest %% ring_base
    rest <- floor(rest / ring_base)
  }
  negative <- values < 0
  digits[negative, ] <- ring_negate(digits[negative, , drop = FALSE])
  digits
}

# The upper half as negative numbers. Beyond 2^53 the nearest double.
ring_decode <- function(x) {
  negative <- x[, ring_digits] >= ring_base / 2
  x[negative, ] <- ring_negate(x[negative, , drop = FALSE])
  # From the highest digit: only the last sum can round.
  size <- 0
  for (digit in rev(seq_len(ring_digits))) size <- size + x[, digit] * ring_base^(digit - 1)
  ifelse(negative, -size, size)
}

# As a fraction of the whole ring, from 0 to 1, for pictures.
ring_fraction <- function(x) x[, ring_digits] / ring_base

ring_format <- function(x) {
  digits <- x[, rev(seq_len(ring_digits)), drop = FALSE]
  apply(digits, 1, function(row) paste0("0x", paste(sprintf("%04x", as.integer(row)), collapse = "")))
}
