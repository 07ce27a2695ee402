# The whole workflow in one go: `make demo`, or Rscript demo.R. This R session is the owner of a model; a second one
# is the client (demo_client.R); the three workers are processes of their own.

library(syfr)

folder <- system.file("examples", package = "syfr", mustWork = TRUE)
step <- function(...) cat("\n", ..., "\n", sep = "")

step("1. The owner of a model starts three workers.")
cluster <- sy_start(sy_cluster_local())

step("2. The owner splits the model into shares. No worker can read its part.")
model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr", mustWork = TRUE), cluster)
print(model)

step("3. A client, in another R session, asks for three predictions. The owner sees that, and nothing more:")
command <- c(file.path(R.home("bin"), "Rscript"), file.path(folder, "demo_client.R"), cluster$hosts)
client <- pipe(paste(c(shQuote(command), "2>&1"), collapse = " "), open = "r")
setTimeLimit(elapsed = 60)
served <- tryCatch(sy_serve(model, num_requests = 3), error = identity)
setTimeLimit()
writeLines(readLines(client))
status <- close(client)
if (inherits(served, "error")) stop(served)
if (!is.null(status) && status != 0) stop("The client has failed; see above.")

workers <- sy_status(cluster)
step("5. What the workers exchanged with each other for it, in kB:")
print(workers[c("worker", "received_kb", "sent_kb")], row.names = FALSE)

step("6. The owner stops everything.")
sy_stop(cluster)
if (any(tools::pskill(workers$pid, 0))) stop("A worker still runs.")
cat("All three workers have ended, and their shares of the model with them.\n")
