# Makes three-hosts-results.txt, which the vignette shows where it is built without Python:
#   Rscript vignettes/three-hosts-results.R
# The three hosts are three folders of this machine, each with the files of its worker and nothing else.

library(syfr)

# Start the worker in a folder, as a process that knows nothing but this folder.
start_player <- function(folder, role) {
  python <- reticulate::py_config()
  options <- c("--config", "cluster.json", "--credentials", ".", "--state-dir", "state")
  player <- processx::process$new(
    python$python, c("-m", "syfr.player", options, role),
    wd = folder, stdout = "|", stderr = NULL,
    env = c("current",
      PYTHONPATH = system.file("python", package = "syfr"), LD_LIBRARY_PATH = dirname(python$libpython)
    )
  )
  player$poll_io(60000)
  player
}

move_folder <- function(from, to) {
  dir.create(to, recursive = TRUE)
  file.copy(from, to, recursive = TRUE)
  unlink(from, recursive = TRUE)
  file.path(to, basename(from))
}

three_hosts <- function() {
  roles <- c("server0", "server1", "server2")
  addresses <- unname(sy_cluster_local()$hosts)
  place <- tempfile("hosts")
  dir <- file.path(place, "owner", "credentials")
  dir.create(dirname(dir), recursive = TRUE)
  suppressMessages(sy_credentials_create(dir, addresses, clients = c("ann", "ben")))
  listed <- sy_credentials(dir)[c("name", "role", "state")]

  # Hand out the folders.
  folders <- mapply(move_folder, file.path(dir, roles), file.path(place, c("alice", "bob", "carol")))
  note <- readLines(file.path(folders[1], "README.txt"))
  ann <- move_folder(file.path(dir, "ann"), file.path(place, "ann"))

  players <- mapply(start_player, folders, roles)
  on.exit(for (player in players) player$kill())

  # The owner
  workers <- lapply(addresses, sy_worker, auto_managed = FALSE)
  cluster <- sy_cluster(workers[[1]], workers[[2]], workers[[3]], credentials = dir)
  suppressMessages(sy_start(cluster))
  model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster)
  sy_serve(model, block = FALSE, per_client = 100)

  # The client
  digits <- sy_mnist(system.file("extdata", "mnist-sample.npz", package = "syfr"))$test
  ask <- function() {
    client <- sy_client(credentials = ann) |>
      client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
    which.max(client_query_model(client, digits$x[1, , , ])) - 1
  }
  predicted <- ask()
  status <- sy_status(cluster)[c("worker", "running", "ours", "models", "served")]

  # A worker is started again, and goes on with what it kept.
  players[[2]]$signal(15L)
  players[[2]]$wait(20000)
  players[[2]] <- start_player(folders[2], roles[2])
  suppressMessages(sy_start(cluster))
  again <- ask()

  # A client is shut out.
  suppressMessages(sy_credentials_revoke(dir, "ann"))
  for (folder in folders) file.copy(file.path(dir, "revoked.json"), folder)
  refused <- tryCatch(ask(), syfr_error = function(e) conditionMessage(e))
  refused <- sub(addresses[1], "alice.example:4000", refused, fixed = TRUE)
  list(
    date = format(Sys.Date()), versions = sy_config()$versions, listed = listed,
    note = note, predicted = predicted, actual = digits$y[1], again = again,
    status = status, refused = refused
  )
}

if (sys.nframe() == 0) {
  results <- three_hosts()
  dput(results, "vignettes/three-hosts-results.txt")
}
