# Makes five-minutes-results.txt, which the vignette shows where it is built without Python:
#   Rscript vignettes/five-minutes-results.R
# Run it again when a figure in the vignette is no longer true.

library(syfr)

five_minutes <- function() {
  cluster <- sy_start(sy_cluster_local())
  on.exit(sy_stop(cluster))
  model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
  sy_serve(model, block = FALSE)

  digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
  client <- sy_client() |>
    client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
  logits <- client_query_model(client, digits$x[1:3, , , ])
  client_query_model(client, digits$x[1, , , ])
  query <- client_last_query(client)
  list(
    date = format(Sys.Date()),
    versions = sy_config()$versions,
    logits = round(as.matrix(logits), 3),
    plain = round(model$keras$predict(digits$x[1:3, , , , drop = FALSE], verbose = 0L), 3),
    actual = digits$y[1:3],
    query = query[c("bytes_sent", "bytes_received", "delays")],
    held = lapply(query$held[c("server0", "server1", "server2")], function(view) round(view[1, , , 1], 2))
  )
}

if (sys.nframe() == 0) {
  results <- five_minutes()
  dput(results, "vignettes/five-minutes-results.txt")
}
