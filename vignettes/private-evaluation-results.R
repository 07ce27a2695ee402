# Makes private-evaluation-results.txt, which the vignette shows where it is built without Python:
#   Rscript vignettes/private-evaluation-results.R
# Run it again when a figure in the vignette is no longer true.

library(syfr)

private_evaluation <- function() {
  digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
  images <- digits$x[1:500, , , ]
  labels <- digits$y[1:500]
  cluster <- sy_start(sy_cluster_local())
  on.exit(sy_stop(cluster))
  model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)

  data <- sy_tensor(images, range = c(0, 1)) |> sy_share(cluster)
  target <- sy_share(labels, cluster)
  pred <- sy_argmax(predict(model, data), axis = 2)
  correct <- sum(pred - 1 == target)

  costs <- sy_explain(correct)
  seconds <- system.time(opened <- sy_get(correct))[["elapsed"]]
  plain <- max.col(model$keras$predict(digits$x[1:500, , , , drop = FALSE], verbose = 0L), "first") - 1
  figures <- sy_evaluate(model, images, labels, metrics = c("accuracy", "confusion"))
  list(
    date = format(Sys.Date()),
    versions = sy_config()$versions,
    printed = c(data = format(data), pred = format(pred), correct = format(correct)),
    costs = costs,
    opened = opened,
    seconds = signif(seconds, 2),
    plain = sum(plain == labels),
    accuracy = figures$accuracy,
    confusion = figures$confusion
  )
}

if (sys.nframe() == 0) {
  dput(private_evaluation(), "vignettes/private-evaluation-results.txt")
}
