# Step 3, a client: ask for predictions, without seeing the model or showing the images.
# Run it in an R session of its own while serve.R serves.

library(syfr)

# The same three workers as the owner describes. The client starts none of them.
alice <- sy_worker("localhost:4000", auto_managed = TRUE)
bob <- sy_worker("localhost:4001", auto_managed = TRUE)
carol <- sy_worker("localhost:4002", auto_managed = TRUE)
cluster <- sy_cluster(alice, bob, carol)

client <- sy_client() |>
  client_connect_to_model(
    batch_input_shape = c(1, 28, 28, 1),
    batch_output_shape = c(1, 10),
    cluster
  )

mnist <- sy_mnist()

for (i in 1:3) {
  logits <- client_query_model(client, mnist$test$x[i, , , ])
  predicted <- which.max(logits) - 1
  cat("Actual: ", mnist$test$y[i], ", predicted: ", predicted, "\n", sep = "")
}
