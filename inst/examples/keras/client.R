# Step 3 in the words of the published workflow: ask for predictions.

library(syfr)

alice <- sy$TFEWorker(host = "localhost:4000", auto_managed = TRUE)
bob <- sy$TFEWorker(host = "localhost:4001", auto_managed = TRUE)
carol <- sy$TFEWorker(host = "localhost:4002", auto_managed = TRUE)
cluster <- sy$TFECluster(alice, bob, carol)

client <- sy$TFEWorker()
client$connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)

mnist <- sy_mnist()

for (i in 1:3) {
  logits <- client$query_model(mnist$test$x[i, , , , drop = FALSE])
  predicted <- which.max(logits) - 1
  cat("Actual: ", mnist$test$y[i], ", predicted: ", predicted, "\n", sep = "")
}
