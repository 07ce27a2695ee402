# Step 2, the owner of the model: start three workers, share the model among them, serve three requests.
# Run it in an R session of its own, in the folder with model.hdf5; run client.R in another when it says so.

library(syfr)

alice <- sy_worker("localhost:4000", auto_managed = TRUE)
bob <- sy_worker("localhost:4001", auto_managed = TRUE)
carol <- sy_worker("localhost:4002", auto_managed = TRUE)
cluster <- sy_cluster(alice, bob, carol)

sy_start(cluster)

model <- sy_share("model.hdf5", cluster)

cat("Serving three requests. Now run client.R in another R session.\n")
sy_serve(model, num_requests = 3)

sy_stop(cluster)
