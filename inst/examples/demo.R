# The whole workflow in one go: `make demo`, or Rscript demo.R. This R session is the owner of a model; a second one
# is the client (demo_client.R); the three workers are processes of their own.

library(syfr)

step <- function(...) cat("\n", ..., "\n", sep = "")

step("1. The owner of a model starts three workers.")
cluster <- sy_start(sy_cluster_local())

step("2. The owner splits the model into shares. No worker can read its part.")
model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr", mustWork = TRUE), cluster)
print(model)

step("3. The owner opens the model for three requests. A client, in another R session, asks for three predictions.")
# Without waiting: the workers serve by themselves, and this session waits for the client.
sy_serve(model, num_requests = 3, block = FALSE)
script <- system.file("examples", "demo_client.R", package = "syfr", mustWork = TRUE)
status <- system2(file.path(R.home("bin"), "Rscript"), c(shQuote(script), cluster$hosts))
if (status != 0) stop("The client has failed; see above.")

step("5. What the workers exchanged with each other, in kB. The owner knows that they served, and nothing more.")
workers <- sy_status(cluster)
print(workers[c("worker", "served", "received_kb", "sent_kb")], row.names = FALSE)

step("6. The owner stops everything.")
sy_stop(cluster)
if (any(tools::pskill(workers$pid, 0))) stop("A worker still runs.")
cat("All three workers have ended, and their shares of the model with them.\n")
