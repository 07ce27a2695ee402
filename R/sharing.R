# Secret sharing in plain R, to learn from: what the workers do with masked numbers, in a form that can be read.

#' Secret sharing, to learn from
#'
#' @description
#' `sy_split()` splits numbers into random shares, one for each party; `sy_combine()` adds them up again. Shares can
#' be added, subtracted and multiplied without being combined. All of it is plain R, to try and to read; nothing
#' else in the package uses it.
#'
#' The shares of a number are random numbers below 2^64 whose sum, modulo 2^64, is the number. All shares but the first
#' are drawn at random, each of the 2^64 numbers being as likely as any other, and the first is what is missing. So
#' any share alone, and any set of shares that lacks one, is as likely for one secret as for another: it says nothing.
#'
#' @section Calculating with shares:
#' `x` and `y` are shared; the numbers that stand beside them are public.
#'
#' * `x + y`, `x - y`, `-x`: each party adds its own shares. Nothing is sent.
#' * `x + 3`: the first party adds it. `x * 3`: each party multiplies its own share. Nothing is sent.
#' * `x * y`: needs help. A dealer, who sees neither `x` nor `y`, draws random `a` and `b`, multiplies them, and
#'   shares out `a`, `b` and `c = a * b`: a triple (Beaver 1991). The parties open `d = x - a` and `e = y - b`, which
#'   say nothing, since `a` and `b` are random and used only this once. Then
#'   `x * y = c + d * b + e * a + d * e`, where only `a`, `b` and `c` are still shared, so that each party can work
#'   out its share alone. What was opened stands in `attr(, "opened")` of the product.
#'
#' Arithmetic works element by element on vectors, matrices and arrays of one shape, or with a single number.
#' Comparisons and divisions would need a protocol of their own, as the workers of syfr have one, and are refused.
#'
#' @section Fractions:
#' Whole numbers are shared as they are. Other numbers are rounded to multiples of `2^-fraction_bits`; from there on
#' all is exact. A product has as many fraction bits as its factors together; public numbers beside shares follow
#' the same rule as `sy_split()`. Results wrap around at `2^(63 - fraction_bits)` either way: as nobody sees the
#' number, nobody can notice. A product of fractions reaches that at about 2,000,000,000, one of whole numbers at
#' `2^63`; beyond `2^53` results are rounded as all numbers of R are.
#'
#' @param x For `sy_split()`, numbers: a vector, matrix, array or data frame, without missing values.
#' @param n How many shares, from 2 to 100.
#' @param fraction_bits Bits after the point, from 0 to 40; `NULL` for 0 if all of `x` are whole, else 16.
#' @param shares What `sy_split()` returned, or a list of all the shares of it.
#' @param partial `TRUE` to add up shares though some are missing, to see that the sum is noise.
#' @return `sy_split()` an object of class `syfr_shares`, a list of `n` shares: `shares[[1]]` is what the first party
#'   holds, and `as.double(shares[[1]])` is what that party would read if it took its share for the secret.
#'   `sy_combine()` the numbers, in the shape they had.
#' @section Errors:
#' Missing and infinite numbers, and those too large for the format, are an error of class `syfr_error_range`; what is
#' no number, or no share, of `syfr_error_type`; shapes that do not fit, of `syfr_error_shape`. See [syfr_errors].
#' @seealso [plot.syfr_shares()] for a picture of a shared image.
#' @references Beaver, D. (1991) Efficient multiparty protocols using circuit randomization. *CRYPTO '91*, 420--432.
#'   \doi{10.1007/3-540-46766-1_34}
#' @examples
#' salary <- sy_split(85000)
#' salary
#' sy_combine(salary)
#'
#' # What the first party reads, and what the first two read together: noise.
#' as.double(salary[[1]])
#' sy_combine(salary[1:2], partial = TRUE)
#'
#' # The mean of three salaries that nobody tells
#' anna <- sy_split(85000)
#' ben <- sy_split(62000)
#' carla <- sy_split(91000)
#' sy_combine(anna + ben + carla) / 3
#'
#' # Products: by a public number, and of two secrets
#' sy_combine(anna * 1.25)
#' hours <- sy_split(matrix(c(38, 40, 37.5, 20), 2))
#' wage <- sy_split(matrix(c(21.5, 30, 18, 45.25), 2))
#' sy_combine(hours * wage)
#' @export
sy_split <- function(x, n = 3, fraction_bits = NULL) {
  call <- sys.call()
  if (!is_count(n) || n < 2 || n > 100) {
    stop_syfr("type", "`n` is not a number of shares. Give a whole number from 2 to 100.", call)
  }
  numbers <- fixed_point(x, fraction_bits, "x", call)
  deal_shares(numbers$ring, n, numbers$frame, numbers$fraction_bits)
}

#' @rdname sy_split
#' @export
sy_combine <- function(shares, partial = FALSE) {
  call <- sys.call()
  parties <- if (inherits(shares, "syfr_share")) list(shares) else shares
  if (!is.list(parties) || length(parties) == 0 || !all(vapply(parties, inherits, NA, "syfr_share"))) {
    stop_syfr("type", "`shares` are not shares. Give what sy_split() returned.", call)
  }
  first <- parties[[1]]
  same <- function(share) identical(share[c("id", "of", "fraction_bits")], first[c("id", "of", "fraction_bits")])
  numbers <- vapply(parties, `[[`, 1, "party")
  if (!all(vapply(parties, same, NA)) || anyDuplicated(numbers)) {
    stop_syfr("type", "These shares do not belong together. Give the shares of one split, each once.", call)
  }
  if (length(parties) < first$of && !as_flag(partial, "partial", call)) {
    stop_syfr("type", call = call, sprintf(
      "These are %d of %d shares, which say nothing. Give all of them, or say partial = TRUE to see noise.",
      length(parties), first$of
    ))
  }
  values <- ring_decode(Reduce(ring_add, lapply(parties, `[[`, "ring"))) * 2^-first$fraction_bits
  attributes(values) <- first$frame
  values
}

is_count <- function(x) is.numeric(x) && length(x) == 1 && is.finite(x) && x == round(x) && x >= 0

most_fraction_bits <- 40
usual_fraction_bits <- 16

# Numbers as a user gives them, in the ring; `frame` is their shape and names, which are no secret.
fixed_point <- function(x, fraction_bits, name, call) {
  if (is.data.frame(x)) x <- as.matrix(x)
  values <- finite_numbers(x, name, call)
  if (is.null(fraction_bits)) fraction_bits <- if (all(values == round(values))) 0 else usual_fraction_bits
  if (!is_count(fraction_bits) || fraction_bits > most_fraction_bits) {
    stop_syfr("type", "`fraction_bits` is not a number of bits. Give a whole number from 0 to 40.", call)
  }
  scaled <- round(values * 2^fraction_bits)
  if (any(abs(scaled) > 2^53)) {
    stop_syfr("range", call = call, sprintf(
      "`%s` has numbers beyond %s, too large for %g fraction bits. Give smaller numbers, or fewer fraction bits.",
      name, format(2^(53 - fraction_bits), big.mark = ","), fraction_bits
    ))
  }
  frame <- attributes(x)[intersect(names(attributes(x)), c("dim", "dimnames", "names"))]
  list(ring = ring_encode(scaled), frame = frame, fraction_bits = fraction_bits)
}

finite_numbers <- function(x, name, call) {
  if (!(is.numeric(x) || is.logical(x)) || length(x) == 0) {
    stop_syfr("type", sprintf("`%s` holds no numbers. Give a numeric vector, matrix or array.", name), call)
  }
  values <- as.double(x)
  if (all(is.finite(values))) return(values)
  stop_syfr("range", sprintf("`%s` has values that are missing or not finite. Give numbers instead.", name), call)
}

# Split ring numbers: all shares but the first are random, the first is what is missing.
deal_shares <- function(ring, n, frame, fraction_bits) {
  random <- replicate(n - 1, ring_random(nrow(ring)), simplify = FALSE)
  first <- Reduce(ring_subtract, random, ring)
  new_shares(c(list(first), random), frame, fraction_bits)
}

# The id tells shares of different numbers apart; it is random and says nothing either.
new_shares <- function(rings, frame, fraction_bits, opened = NULL) {
  id <- ring_format(ring_random(1))
  shares <- lapply(seq_along(rings), function(party) {
    structure(class = "syfr_share", list(
      ring = rings[[party]], party = as.double(party), of = as.double(length(rings)),
      frame = frame, fraction_bits = fraction_bits, id = id
    ))
  })
  structure(shares, class = "syfr_shares", opened = opened)
}

#' @export
`[.syfr_shares` <- function(x, i) unclass(x)[i]

#' @export
as.double.syfr_share <- function(x, ...) ring_decode(x$ring) * 2^-x$fraction_bits

#' @export
Ops.syfr_shares <- function(e1, e2) {
  call <- sys.call(-1)
  if (!.Generic %in% c("+", "-", "*")) {
    stop_syfr("type", call = call, sprintf(
      "Shares cannot be computed with by `%s` without more messages. Use +, - and *, or combine them first.", .Generic
    ))
  }
  if (missing(e2)) {
    if (.Generic == "+") return(e1)
    return(shares_each(e1, function(ring, party) ring_negate(ring)))
  }
  if (!inherits(e2, "syfr_shares")) return(shares_with_public(.Generic, e1, e2, call))
  if (.Generic == "-") return(e1 + -e2)
  if (!inherits(e1, "syfr_shares")) return(shares_with_public(.Generic, e2, e1, call))
  if (length(e1) != length(e2)) {
    stop_syfr("shape", call = call, sprintf(
      "The one is split in %d shares, the other in %d. Split both among the same parties.", length(e1), length(e2)
    ))
  }
  frame <- common_frame(e1[[1]]$frame, e2[[1]]$frame, nrow(e1[[1]]$ring), nrow(e2[[1]]$ring), call)
  if (.Generic == "+") shares_add(e1, e2, frame) else shares_multiply(e1, e2, frame, call)
}

# Let each party do something with its own share.
shares_each <- function(shares, work, frame = shares[[1]]$frame, fraction_bits = shares[[1]]$fraction_bits) {
  new_shares(lapply(shares, function(share) work(share$ring, share$party)), frame, fraction_bits)
}

shares_with_public <- function(operation, shares, public, call) {
  numbers <- fixed_point(public, NULL, "public number", call)
  own <- shares[[1]]
  frame <- common_frame(own$frame, numbers$frame, nrow(own$ring), nrow(numbers$ring), call)
  if (operation == "*") {
    bits <- fraction_bits_of_product(own$fraction_bits, numbers$fraction_bits, call)
    return(shares_each(shares, function(ring, party) ring_multiply(ring, numbers$ring), frame, bits))
  }
  bits <- max(own$fraction_bits, numbers$fraction_bits)
  public <- ring_scale(numbers$ring, bits - numbers$fraction_bits)
  if (operation == "-") public <- ring_negate(public)
  nothing <- ring_recycle(ring_encode(0), nrow(public))
  shares_each(shares, frame = frame, fraction_bits = bits, work = function(ring, party) {
    ring_add(ring_scale(ring, bits - own$fraction_bits), if (party == 1) public else nothing)
  })
}

shares_add <- function(x, y, frame) {
  bits <- max(x[[1]]$fraction_bits, y[[1]]$fraction_bits)
  scaled <- function(share) ring_scale(share$ring, bits - share$fraction_bits)
  new_shares(Map(function(one, other) ring_add(scaled(one), scaled(other)), x, y), frame, bits)
}

# x * y = c + d b + e a + d e with d = x - a and e = y - b, of which only a, b and c are still shared.
shares_multiply <- function(x, y, frame, call) {
  bits <- fraction_bits_of_product(x[[1]]$fraction_bits, y[[1]]$fraction_bits, call)
  triple <- deal_triple(length(x), nrow(x[[1]]$ring), nrow(y[[1]]$ring))
  open <- function(secret, mask) {
    hidden <- Map(function(one, other) ring_subtract(one$ring, other$ring), secret, mask)
    Reduce(ring_add, hidden)
  }
  d <- open(x, triple$a)
  e <- open(y, triple$b)
  rings <- lapply(seq_along(x), function(party) {
    share <- ring_add(ring_multiply(d, triple$b[[party]]$ring), ring_multiply(e, triple$a[[party]]$ring))
    share <- ring_add(share, triple$c[[party]]$ring)
    if (party == 1) ring_add(share, ring_multiply(d, e)) else share
  })
  new_shares(rings, frame, bits, opened = list(d = ring_format(d), e = ring_format(e)))
}

# The dealer's part: random a and b, and their product, shared out.
deal_triple <- function(n, rows_a, rows_b) {
  a <- ring_random(rows_a)
  b <- ring_random(rows_b)
  lapply(list(a = a, b = b, c = ring_multiply(a, b)), deal_shares, n = n, frame = NULL, fraction_bits = 0)
}

ring_scale <- function(ring, bits) ring_multiply(ring, ring_encode(2^bits))

fraction_bits_of_product <- function(one, other, call) {
  bits <- one + other
  if (bits <= most_fraction_bits) return(bits)
  stop_syfr("range", call = call, sprintf(
    "The product would have %g fraction bits, more than the 40 there are. Split with fewer `fraction_bits`.", bits
  ))
}

# The shape of a result: that of the one with more numbers. Of two vectors or arrays with as many, which must have the
# same shape unless one is a plain vector, it is that of the array.
common_frame <- function(one, other, size, other_size, call) {
  if (min(size, other_size) == 1) return(if (other_size > size) other else one)
  dims <- unique(Filter(Negate(is.null), list(one$dim, other$dim)))
  if (size == other_size && length(dims) < 2) return(if (length(one$dim) < length(other$dim)) other else one)
  stop_syfr("shape", call = call, sprintf(
    "The shapes %s and %s do not fit. Give the same shape, or a single number.",
    show_sizes(one, size), show_sizes(other, other_size)
  ))
}

show_sizes <- function(frame, size) paste(if (is.null(frame$dim)) size else frame$dim, collapse = " x ")

describe_secret <- function(share) {
  count <- nrow(share$ring)
  what <- show_sizes(share$frame, count)
  format <- if (share$fraction_bits > 0) sprintf(" with %g fraction bits", share$fraction_bits) else ""
  paste0(if (count == 1) "one number" else paste(what, "numbers"), format)
}

show_ring <- function(ring, most = 3) {
  shown <- ring_format(utils::head(ring, most))
  paste(c(shown, if (nrow(ring) > most) "..."), collapse = " ")
}

#' @export
format.syfr_share <- function(x, ...) {
  c(sprintf("<share %g of %g of %s>", x$party, x$of, describe_secret(x)), paste0("  ", show_ring(x$ring)))
}

#' @export
format.syfr_shares <- function(x, ...) {
  lines <- vapply(x, function(share) sprintf("  party %g holds  %s", share$party, show_ring(share$ring)), "")
  opened <- attr(x, "opened")
  if (!is.null(opened)) {
    opened <- lapply(opened, utils::head, 2)
    lines <- c(lines, sprintf("  opened on the way, and random too: d = %s, e = %s", opened$d[1], opened$e[1]))
  }
  c(
    sprintf("<%d shares of %s>", length(x), describe_secret(x[[1]])), lines,
    "  Without all of them every number is as likely as any other; sy_combine() adds them up."
  )
}

#' @export
print.syfr_share <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}

#' @export
print.syfr_shares <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
