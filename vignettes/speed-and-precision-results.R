# Makes speed-and-precision-results.txt, which the vignette shows where it is built without Python:
#   Rscript vignettes/speed-and-precision-results.R
# Times are the newest of bench/results, measured on a machine that did little else; all the rest is computed here.

library(syfr)

# A model with weights that fixed point cannot hold: what sy_share() says of it.
too_large <- function(model, cluster) {
  weights <- model$keras$get_weights()
  last <- length(weights) - 1
  weights[[last]] <- weights[[last]] * 10000
  model$keras$set_weights(weights)
  tryCatch(sy_share(model$keras, cluster), syfr_error_range_check = conditionMessage)
}

# Private and plain logits of the sample of MNIST, and one image asked about again and again.
compare <- function(model, client, digits, again = 300) {
  x <- digits$x
  private <- as.matrix(client_query_model(client, x))
  plain <- model$keras$predict(x, verbose = 0L)
  error <- private - plain
  breaks <- seq(-0.005, 0.005, 0.00025)
  bars <- hist(pmin(pmax(error, -0.005), 0.005), breaks, plot = FALSE)
  repeated <- replicate(again, c(client_query_model(client, x[1, , , ]))[8])
  list(
    largest = max(abs(error)), usual = stats::median(abs(error)), errors = list(breaks = breaks, counts = bars$counts),
    images = nrow(private), same_digit = sum(max.col(private) == max.col(plain)),
    right = sum(max.col(private) - 1 == digits$y),
    repeated = table(repeated * 2^14), plain_repeated = plain[1, 8] * 2^14
  )
}

# The figures that the vignette shows, in milliseconds and bytes.
measured <- function(folder = "bench/results") {
  file <- utils::tail(sort(list.files(folder, "^night-[0-9-]+[.]json$", full.names = TRUE)), 1)
  report <- reticulate::import("json")$loads(paste(readLines(file), collapse = "\n"))
  median_of <- function(name) report$figures[[name]]$median
  models <- c(conv = "conv", dense = "dense784x500")
  batches <- c(1, 2, 4, 8, 16, 32, 64, 128)
  of_model <- function(model) {
    name <- function(...) paste(..., sep = "/")
    list(
      private = 1000 * median_of(name("latency", model, "private")),
      predict = 1000 * median_of(name("latency", model, "predict")),
      batch_predict = 1000 * median_of(name("latency", model, "predict_on_batch")),
      delays = median_of(name("delays", model)),
      online = median_of(name("bytes", model, "1/online")), ahead = median_of(name("bytes", model, "1/preprocessing")),
      to_workers = median_of(name("bytes", model, "1/client sends")),
      to_client = median_of(name("bytes", model, "1/client receives")),
      images = median_of(name("throughput", model, "128/inside")),
      batch = 1000 * vapply(batches, function(size) median_of(name("growth/batch", model, size)), 1)
    )
  }
  far <- c(1, 5, 20)
  list(
    machine = report$machine[c("date", "processor", "cores")], batches = batches, models = lapply(models, of_model),
    far = far, far_query = 1000 * vapply(far, function(ms) median_of(sprintf("wide/conv/%d ms one way/query", ms)), 1),
    far_delays = vapply(far, function(ms) median_of(sprintf("wide/conv/%d ms one way/delays", ms)), 1)
  )
}

speed_and_precision <- function(bench = measured()) {
  cluster <- sy_start(sy_cluster_local())
  on.exit(sy_stop(cluster))
  # All digits: by default clients get ten behind the point.
  model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster, digits = NULL)
  sy_serve(model, block = FALSE)
  client <- sy_client() |>
    client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
  digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
  outside <- tryCatch(client_query_model(client, 255 * digits$x[1, , , ]), syfr_error_range = conditionMessage)
  list(
    date = format(Sys.Date()), versions = sy_config()$versions, precision = compare(model, client, digits),
    outside = outside, too_large = too_large(model, cluster), bench = bench
  )
}

if (sys.nframe() == 0) {
  results <- speed_and_precision()
  dput(results, "vignettes/speed-and-precision-results.txt")
}
