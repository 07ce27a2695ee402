# Draws man/figures/overview.png, the picture at the top of README.md, from the stored results of a real query.
# From the root of the checkout, with the package installed: Rscript data-raw/make-figures.R
#
# What the workers see of the digit is what they held of it; what they see of the weights is drawn at random, as their
# shares are.

results <- dget("vignettes/five-minutes-results.txt")
digit <- syfr::sy_mnist("inst/extdata/mnist-sample.npz")$test$x[1, , , 1]
ink <- list(
  blue = "#0072B2", pale = "#9CC6E0", orange = "#E69F00", text = "#1F2933", soft = "#5B6770", line = "#C9D1D8"
)

picture <- function(x, left, bottom, size, border = ink$line) {
  rasterImage(as.raster(1 - x), left, bottom, left + size, bottom + size, interpolate = FALSE)
  rect(left, bottom, left + size, bottom + size, border = border)
}

card <- function(left, bottom, right, top, fill = "white") {
  rect(left, bottom, right, top, col = fill, border = ink$line, lwd = 1.5)
}

label <- function(x, y, text, ..., col = ink$text) text(x, y, text, ..., col = col)

# A model: layers of weights, as grey values.
draw_model <- function(left, bottom) {
  for (layer in 1:3) {
    weights <- matrix(stats::runif(64)^1.5, 8)
    picture(weights, left + 0.36 * (layer - 1), bottom + 0.3 * (layer - 1), 1.25)
  }
}

draw_owner <- function() {
  card(0.1, 0.22, 3.1, 5.02)
  label(1.6, 4.6, "The owner", font = 2, cex = 1.15)
  draw_model(0.62, 1.95)
  label(1.6, 1.15, "has a model,", col = ink$soft, cex = 0.9)
  label(1.6, 0.8, "shows it to nobody", col = ink$soft, cex = 0.9)
}

draw_worker <- function(i) {
  bottom <- 5.26 - 1.68 * i
  top <- bottom + 1.44
  card(5.3, bottom, 10.7, top, "#F4F8FB")
  label(5.5, bottom + 0.9, paste0("server", i - 1), font = 2, pos = 4, offset = 0)
  label(5.5, bottom + 0.52, if (i == 3) "dealer" else "computes", col = ink$soft, pos = 4, offset = 0, cex = 0.85)
  picture(matrix(stats::runif(28^2), 28), 7.35, bottom + 0.12, 1.2)
  seen <- results$held[[i]]
  picture(seen, 9.15, bottom + 0.12, 1.2)
}

draw_client <- function() {
  card(12.9, 0.22, 15.9, 5.02)
  label(14.4, 4.6, "The client", font = 2, cex = 1.15)
  picture(digit, 13.1, 2.6, 1.6)
  logits <- results$logits[1, ]
  probability <- exp(logits - max(logits)) / sum(exp(logits - max(logits)))
  for (class in 0:9) {
    y <- 4.1 - 0.16 * class
    best <- class == which.max(logits) - 1
    rect(15.02, y - 0.06, 15.04 + 0.7 * probability[class + 1], y + 0.06, border = NA,
      col = if (best) ink$blue else ink$pale)
    label(14.9, y, class, cex = 0.55, font = if (best) 2 else 1, col = if (best) ink$blue else ink$soft)
  }
  label(14.4, 2.0, sprintf("learns: it is a %d", which.max(logits) - 1), font = 2, col = ink$blue)
  label(14.4, 1.15, "has a picture,", col = ink$soft, cex = 0.9)
  label(14.4, 0.8, "shows it to nobody", col = ink$soft, cex = 0.9)
}

# Where each worker's arrows end, and where they begin at the owner and the client.
draw_arrows <- function() {
  share <- function(...) arrows(..., length = 0.09, lwd = 2, col = ink$orange)
  part <- function(...) arrows(..., length = 0.09, lwd = 2, col = ink$blue)
  worker <- c(4.3, 2.62, 0.94)
  owner <- c(3.9, 2.62, 1.34)
  share(3.2, owner, 5.2, worker)
  client <- c(4.05, 2.8, 1.24)
  share(12.8, client + 0.15, 10.8, worker + 0.15)
  part(10.8, worker[1:2] - 0.15, 12.8, client[1:2] - 0.2)
  label(4.2, 4.75, "shares of\nthe weights", cex = 0.8, col = ink$soft)
  label(11.8, 4.85, "shares of\nthe picture", cex = 0.8, col = ink$soft)
  label(11.8, 3.35, "parts of\nthe answer", cex = 0.8, col = ink$blue)
}

png("man/figures/overview.png", width = 1600, height = 545, res = 150)
set.seed(1)
par(mar = rep(0, 4), family = "sans")
plot.new()
plot.window(c(0, 16), c(0.1, 5.55), xaxs = "i", yaxs = "i")
label(5.5, 5.3, "a worker sees", adj = c(0, 0.5), cex = 0.8, col = ink$soft)
label(7.95, 5.3, "of the model", cex = 0.8, col = ink$soft)
label(9.75, 5.3, "of the picture", cex = 0.8, col = ink$soft)
draw_owner()
for (i in 1:3) draw_worker(i)
draw_client()
draw_arrows()
invisible(dev.off())
