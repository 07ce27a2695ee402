# The ring, against numbers small enough for doubles, and by laws that hold modulo 2^64 beyond them.

random_whole <- function(count, bits) sample(c(-1, 1), count, TRUE) * floor(runif(count) * 2^bits)

test_that("the ring is exact where doubles are, and wraps where it should", {
  for (round in 1:60) {
    bits <- sample(0:52, 1)
    x <- random_whole(5, bits)
    y <- random_whole(5, bits)
    expect_identical(ring_decode(ring_encode(x)), x)
    expect_identical(ring_decode(ring_add(ring_encode(x), ring_encode(y))), x + y)
    small_x <- random_whole(5, 26)
    small_y <- random_whole(5, 26)
    expect_identical(ring_decode(ring_multiply(ring_encode(small_x), ring_encode(small_y))), small_x * small_y)
  }
  top <- ring_encode(2^53)
  expect_identical(ring_decode(ring_multiply(top, ring_encode(2^10))), -2^63)
  expect_identical(ring_decode(ring_multiply(top, ring_encode(2^11))), 0)
  expect_identical(ring_format(ring_encode(c(0, 1, -1, 2^48))), c(
    "0x0000000000000000", "0x0000000000000001", "0xffffffffffffffff", "0x0001000000000000"
  ))
})

test_that("the ring's laws hold for all its numbers", {
  for (round in 1:50) {
    x <- ring_random(4)
    y <- ring_random(4)
    z <- ring_random(4)
    expect_identical(ring_add(x, y), ring_add(y, x))
    expect_identical(ring_add(x, ring_negate(x)), ring_encode(rep(0, 4)))
    expect_identical(ring_multiply(x, ring_add(y, z)), ring_add(ring_multiply(x, y), ring_multiply(x, z)))
    expect_identical(ring_multiply(ring_multiply(x, y), z), ring_multiply(x, ring_multiply(y, z)))
    expect_true(all(x >= 0 & x < 2^16 & x == floor(x)))
  }
})

test_that("what is split is combined again, in its shape and with its names", {
  secrets <- list(
    85000, -1, 0, 2^53, -2^53, 1:10, TRUE, c(a = 1, b = 2), matrix(1:6, 2, dimnames = list(c("x", "y"), NULL)),
    array(random_whole(24, 40), 2:4)
  )
  for (secret in secrets) {
    for (n in c(2, 3, 7)) {
      plain <- secret
      storage.mode(plain) <- "double"
      expect_identical(sy_combine(sy_split(secret, n)), plain)
    }
  }
  fractions <- round(runif(50, -1e6, 1e6) * 2^16) / 2^16
  expect_identical(sy_combine(sy_split(fractions)), fractions)
  expect_identical(sy_combine(sy_split(0.1, fraction_bits = 40)), round(0.1 * 2^40) / 2^40)
  expect_identical(sy_combine(sy_split(data.frame(u = 1:2, v = 3:4))), cbind(u = c(1, 2), v = c(3, 4)))
})

test_that("arithmetic on shares is that on numbers", {
  for (round in 1:25) {
    n <- sample(2:5, 1)
    size <- sample(1:5, 1)
    x <- random_whole(size, 25)
    y <- random_whole(size, 25)
    u <- round(runif(size, -100, 100) * 2^16) / 2^16
    k <- random_whole(1, 20)
    shared <- lapply(list(x = x, y = y, u = u), sy_split, n = n)
    expect_identical(sy_combine(shared$x + shared$y), x + y)
    expect_identical(sy_combine(shared$x - shared$y), x - y)
    expect_identical(sy_combine(shared$x * shared$y), x * y)
    expect_identical(sy_combine(-shared$x), -x)
    expect_identical(sy_combine(+shared$x), x)
    expect_identical(sy_combine(shared$x + k), x + k)
    expect_identical(sy_combine(k - shared$x), k - x)
    expect_identical(sy_combine(shared$x - k), x - k)
    expect_identical(sy_combine(shared$x * k), x * k)
    expect_identical(sy_combine(k * shared$x), x * k)
    # fractions beside whole numbers, and products of fractions: 32 bits after the point, all exact
    expect_identical(sy_combine(shared$u + shared$x), u + x)
    expect_identical(sy_combine(shared$u + 0.25), u + 0.25)
    expect_identical(sy_combine(1 - shared$u), 1 - u)
    expect_identical(sy_combine(shared$u * shared$u), u * u)
    expect_identical(sy_combine(shared$x * 0.5), x * 0.5)
  }
})

test_that("shapes meet as in R, and a single number goes with all", {
  m <- matrix(1:6, 2)
  expect_identical(sy_combine(sy_split(m) * sy_split(m)), m * m * 1)
  expect_identical(sy_combine(sy_split(m) + 1), m + 1)
  expect_identical(sy_combine(sy_split(m) + 1:6), m + 1:6 * 1)
  expect_identical(sy_combine(sy_split(2) * sy_split(m)), 2 * m)
  expect_identical(sy_combine(sy_split(2) + c(a = 1, b = 2)), c(a = 3, b = 4))
  expect_error(sy_split(m) + sy_split(t(m)), "2 x 3 and 3 x 2", class = "syfr_error_shape")
  expect_error(sy_split(1:3) * 1:2, "3 and 2", class = "syfr_error_shape")
  expect_error(sy_split(1, 2) + sy_split(1, 3), "2 shares", class = "syfr_error_shape")
})

test_that("what is no number or does not fit is refused", {
  for (value in list("a", NULL, factor("a"), numeric(), list(1), 1i)) {
    expect_error(sy_split(value), class = "syfr_error_type")
  }
  for (value in c(NA, NaN, Inf, -Inf, 2^54)) expect_error(sy_split(value), class = "syfr_error_range")
  expect_error(sy_split(1e12 + 0.5), "fewer fraction bits", class = "syfr_error_range")
  for (n in list(1, 2.5, 101, "3", NA, c(2, 3))) expect_error(sy_split(1, n), class = "syfr_error_type")
  expect_error(sy_split(1, fraction_bits = 41), class = "syfr_error_type")
  expect_error(sy_split(1) - "a", class = "syfr_error_type")
  expect_error(sy_split(1) / 2, "`/`", class = "syfr_error_type")
  expect_error(sy_split(1) < sy_split(2), "`<`", class = "syfr_error_type")
  half <- sy_split(0.5)
  expect_error(half * half * half, "fraction_bits", class = "syfr_error_range")
})

test_that("shares that do not belong together, or are not all there, are not added up by mistake", {
  x <- sy_split(1)
  y <- sy_split(2)
  expect_error(sy_combine(x[1:2]), "2 of 3", class = "syfr_error_type")
  expect_error(sy_combine(list(x[[1]], x[[2]], y[[3]])), "do not belong together", class = "syfr_error_type")
  expect_error(sy_combine(x[c(1, 2, 2)]), "each once", class = "syfr_error_type")
  expect_error(sy_combine(1), "sy_split", class = "syfr_error_type")
  expect_error(sy_combine(list()), class = "syfr_error_type")
  expect_identical(sy_combine(x[3:1]), 1)
  expect_true(is.numeric(sy_combine(x[1:2], partial = TRUE)))
})

# A number that was always shared in the same way, or a first share that told of the secret, would fail here. The
# upper digit of a share is uniform below 2^16: of 4,000 the mean lies within 6 standard errors but once in 500 million.
test_that("shares, and what is opened on the way, look alike for every secret", {
  upper <- function(ring) ring[, 4]
  is_uniform <- function(values) {
    mean_error <- abs(mean(values) / 2^16 - 0.5) / sqrt(1 / 12 / length(values))
    expect_lt(mean_error, 6)
    expect_gt(length(unique(values)), 0.9 * length(values))
  }
  for (secret in c(0, 85000, -1)) {
    shares <- sy_split(rep(secret, 4000))
    for (share in shares) is_uniform(upper(share$ring))
    is_uniform(upper(ring_add(shares[[1]]$ring, shares[[2]]$ring)))
    is_uniform(upper(ring_add(shares[[2]]$ring, shares[[3]]$ring)))
    product <- shares * shares
    for (share in product) is_uniform(upper(share$ring))
    is_uniform(strtoi(substr(attr(product, "opened")$d, 3, 6), 16))
    is_uniform(strtoi(substr(attr(product, "opened")$e, 3, 6), 16))
  }
})

test_that("R's seed says nothing about the shares", {
  set.seed(1)
  one <- sy_split(1)[[2]]$ring
  set.seed(1)
  expect_false(identical(sy_split(1)[[2]]$ring, one))
})

test_that("shares print without the secret", {
  shares <- sy_split(c(85000, 1, 2, 3))
  said <- paste(format(shares), collapse = "\n")
  expect_match(said, "<3 shares of 4 numbers>")
  expect_match(said, "party 2 holds  0x[0-9a-f]{16} 0x[0-9a-f]{16} 0x[0-9a-f]{16} \\.\\.\\.\n")
  expect_match(said, "every number is as likely")
  expect_false(grepl("85000", said))
  expect_output(print(shares[[1]]), "share 1 of 3")
  expect_output(print(sy_split(matrix(0.5, 2, 2))), "2 x 2 numbers with 16 fraction bits")
  expect_output(print(shares * shares), "opened on the way")
  expect_true(is.numeric(as.double(shares[[1]])) && length(as.double(shares[[1]])) == 4)
})
