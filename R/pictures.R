# What all pictures have in common, and the pictures of shared images.

# Of the palette of Okabe and Ito, which people with colour-blindness can tell apart too; and shades of grey.
ink <- list(
  blue = "#0072B2", orange = "#E69F00", green = "#009E73", red = "#D55E00", pale = "#9CC6E0", grey = "grey45",
  light = "grey85", paper = "grey97"
)

# An image as rasterImage() takes it, from an array of height x width, with one or three channels, from 0 to 1. Grey
# images are drawn as ink on paper: 1 is black.
as_picture <- function(x) {
  x <- pmin(pmax(x, 0), 1)
  if (length(dim(x)) == 3 && dim(x)[3] == 3) return(grDevices::as.raster(x))
  if (length(dim(x)) == 3) x <- apply(x, 1:2, mean)
  if (length(dim(x)) < 2) x <- matrix(x, nrow = 1)
  grDevices::as.raster(1 - x)
}

# The values of an image, brought to 0..1.
stretch <- function(x) {
  ends <- range(x)
  if (ends[1] >= 0 && ends[2] <= 1) return(x)
  (x - ends[1]) / max(ends[2] - ends[1], .Machine$double.eps)
}

# Draw panels: a list of title, note, colour of the note, and picture. The last one stands beside all the others.
draw_panels <- function(panels, columns, main) {
  rows <- (length(panels) - 1) / columns
  places <- cbind(matrix(seq_len(length(panels) - 1), rows, byrow = TRUE), length(panels))
  old <- graphics::par(oma = c(0, 0, 2.5, 0), mar = c(2.5, 0.8, 2.2, 0.8))
  on.exit({
    graphics::layout(1)
    graphics::par(old)
  })
  graphics::layout(places, widths = c(rep(1, columns), 1.3))
  for (panel in panels) draw_panel(panel)
  graphics::mtext(main, outer = TRUE, font = 2, line = 0.8)
}

draw_panel <- function(panel) {
  size <- dim(panel$picture)
  graphics::plot.new()
  graphics::plot.window(c(0, size[2]), c(0, size[1]), asp = 1)
  graphics::rasterImage(panel$picture, 0, 0, size[2], size[1], interpolate = FALSE)
  graphics::rect(0, 0, size[2], size[1], border = ink$grey, xpd = NA)
  graphics::mtext(panel$title, side = 3, line = 0.4, cex = 0.85)
  graphics::mtext(panel$note, side = 1, line = 0.6, cex = 0.8, col = panel$colour)
}

panel <- function(title, note, picture, readable) {
  colour <- if (readable) ink$red else ink$blue
  list(title = title, note = note, picture = as_picture(picture), colour = colour)
}

# Whether `row` is one of so many inputs.
check_row <- function(row, rows, call) {
  if (!is.numeric(row) || length(row) != 1 || is.na(row)) {
    stop_syfr("type", sprintf("`row` is not a single number. Give one from 1 to %d.", rows), call)
  }
  if (!row %in% seq_len(rows)) {
    stop_syfr("range", sprintf("There is no row %s. Give one from 1 to %d.", format(row), rows), call)
  }
}

#' A picture of a shared image
#'
#' Draws what each party holds, what the parties hold together when one of them is missing, and what all of them
#' hold: noise, noise, and the image. `ggplot2::autoplot()` does the same where ggplot2 is installed.
#'
#' @param x,object A matrix, or an array of height x width x channels, split with [sy_split()] into 10 shares or fewer.
#' @param ... Not used.
#' @return `x`, invisibly.
#' @seealso [plot.syfr_query()] for what the workers hold of a real query.
#' @examples
#' digit <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test$x[1, , , 1]
#' plot(sy_split(digit))
#' @export
plot.syfr_shares <- function(x, ...) {
  panels <- share_panels(x, sys.call())
  draw_panels(panels, length(x), shares_title(x))
  invisible(x)
}

shares_title <- function(x) sprintf("An image split into %d shares", length(x))

# So many shares fit into a picture.
most_drawn <- 10

# The views of each party, of all parties but one where that is another view, and of all.
share_panels <- function(x, call) {
  sizes <- x[[1]]$frame$dim
  if (is.null(sizes) || length(sizes) > 3) {
    stop_syfr("shape", "These shares are of no image. Split a matrix, or an array of height x width x channels.", call)
  }
  if (length(x) > most_drawn) {
    stop_syfr("range", call = call, sprintf(
      "%d shares are too many for a picture. Split the image into %d or fewer.", length(x), most_drawn
    ))
  }
  view <- function(parties) array(ring_fraction(Reduce(ring_add, lapply(x[parties], `[[`, "ring"))), sizes)
  everybody <- seq_along(x)
  alone <- lapply(everybody, function(party) panel(paste("party", party), "alone: noise", view(party), FALSE))
  but_one <- lapply(if (length(x) > 2) rev(everybody), function(missing) {
    parties <- setdiff(everybody, missing)
    pair <- paste("parties", paste(parties, collapse = " and "))
    panel(if (length(x) == 3) pair else paste("all but party", missing), "together: noise", view(parties), FALSE)
  })
  image <- panel("all parties", "together: the image", stretch(sy_combine(x)), TRUE)
  c(alone, but_one, list(image))
}
