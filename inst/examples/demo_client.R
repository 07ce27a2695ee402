# The client of demo.R: gets the addresses of the three workers, asks for three predictions, and shows what each
# worker received.

suppressMessages(library(syfr))

hosts <- commandArgs(trailingOnly = TRUE)
cluster <- sy_cluster(hosts[1], hosts[2], hosts[3])
digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr", mustWork = TRUE))$test

client <- sy_client() |>
  client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)

seconds <- numeric(3)
for (i in 1:3) {
  logits <- client_query_model(client, digits$x[i, , , ])
  seconds[i] <- client_last_query(client)$seconds
  cat("Actual: ", digits$y[i], ", predicted: ", which.max(logits) - 1, "\n", sep = "")
}

query <- client_last_query(client)
cat(sprintf(
  "\nA query took %.1f ms: %.1f kB to the workers, %d messages one after the other between them, %.1f kB back.\n",
  1000 * stats::median(seconds), query$bytes_sent / 1000, query$delays, query$bytes_received / 1000
))

# A picture in characters: two rows of pixels a line, light to dark.
picture <- function(image) {
  lines <- (image[seq(1, 27, 2), ] + image[seq(2, 28, 2), ]) / 2
  shades <- strsplit(" .:-=+*#%@", "")[[1]]
  apply(lines, 1, function(line) paste(shades[1 + pmin(9, floor(10 * line))], collapse = ""))
}

image <- digits$x[3, , , 1]
masked <- query$seen$server0[1, , , 1]

cat("\n4. The last image, and what server0 and server1 received of it:\n\n")
cat(paste0("   ", picture(image), "   |   ", picture(masked)), sep = "\n")
cat(sprintf(
  "\n   Correlation of the two: %.2f (chance alone gives up to %.2f either way). server2 received %s of the image.\n",
  stats::cor(c(image), c(masked)), 3.3 / sqrt(length(image)),
  if (length(query$seen$server2) == 0) "nothing" else "something"
))
