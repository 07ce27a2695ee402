# R is interrupted as Ctrl-C does it: by a signal to the process, while it waits.

test_that("an interrupt ends sy_serve() within a second and leaves the cluster usable, again and again", {
  skip_without_keras()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(c(
    "library(syfr)",
    "cluster <- sy_start(sy_cluster_local())",
    "model <- sy_share(system.file('extdata', 'mnist-conv.h5', package = 'syfr'), cluster)",
    "x <- sy_mnist(system.file('extdata', 'mnist-sample.npz', package = 'syfr'))$test$x[1, , , ]",
    "client <- sy_client() |> client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)",
    "for (round in 1:5) {",
    "  cat('serving', round, '\n')",
    "  tryCatch(sy_serve(model), interrupt = function(i) cat('interrupted', round, '\n'))",
    "  refused <- tryCatch(client_query_model(client, x), syfr_error_not_served = function(e) 'refused')",
    "  sy_serve(model, num_requests = 1, block = FALSE)",
    "  cat('usable', round, refused[1], which.max(client_query_model(client, x)) - 1, '\n')",
    "}",
    "pids <- sy_status(cluster)$pid",
    "sy_stop(cluster)",
    "cat('pids', pids, '\n')"
  ))
  for (round in 1:5) {
    read_until(session, paste("serving", round))
    Sys.sleep(runif(1, 0.2, 0.5))
    session$process$interrupt()
    said <- read_until(session, paste("usable", round))
    expect_match(said, paste("interrupted", round), all = FALSE)
    expect_match(said, paste("usable", round, "refused 7"), all = FALSE)
  }
  expect_gone(named_pids(session))
  expect_ends_well(session)
})

test_that("an interrupt ends the wait for workers that do not come, and ends those that did", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(args = free_hosts(), c(
    "library(syfr)",
    "hosts <- commandArgs(TRUE)",
    "cluster <- sy_cluster(hosts[1], hosts[2], sy_worker(hosts[3], auto_managed = FALSE))",
    "tryCatch(sy_start(cluster), interrupt = function(i) cat('interrupted\n'))",
    "cat('after\n')",
    "sy_start(sy_cluster_local())",
    "cat('started another\n')"
  ))
  read_until(session, "server1 is ready")
  session$process$interrupt()
  said <- read_until(session, "started another")
  expect_match(said, "interrupted", all = FALSE)
})

test_that("an error after an interrupt elsewhere is that error, and no second interrupt", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(args = free_hosts(), c(
    "library(syfr)",
    "hosts <- commandArgs(TRUE)",
    "nobody <- sy_cluster(hosts[1], hosts[2], hosts[3])",
    "worker <- sy$TFEWorker()",
    "cat('sleeping\\n')",
    "tryCatch(Sys.sleep(60), interrupt = function(i) cat('woken\\n'))",
    "for (i in 1:2) {",
    "  tryCatch(",
    "    client_connect_to_model(sy_client(), c(1, 2), c(1, 2), nobody),",
    "    syfr_error_credentials = function(e) cat('no credentials', i, '\\n')",
    "  )",
    "}"
  ))
  read_until(session, "sleeping")
  Sys.sleep(0.3)
  session$process$interrupt()
  said <- read_until(session, "no credentials 2")
  expect_identical(said, c("woken", "no credentials 1 ", "no credentials 2 "))
  expect_ends_well(session)
})

test_that("an interrupt ends a query of many rows, and the next query is answered", {
  skip_without_keras()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(c(
    "library(syfr)",
    "cluster <- sy_start(sy_cluster_local())",
    "model <- sy_share(system.file('extdata', 'mnist-conv.h5', package = 'syfr'), cluster)",
    "sy_serve(model, block = FALSE)",
    "x <- sy_mnist(system.file('extdata', 'mnist-sample.npz', package = 'syfr'))$test$x[1, , , ]",
    "client <- sy_client() |> client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)",
    "many <- aperm(array(x, c(28, 28, 8000)), c(3, 1, 2))",
    "cat('asking 1\\n')",
    "tryCatch(client_query_model(client, many), interrupt = function(i) cat('interrupted 1\\n'))",
    "cat('usable 1', which.max(client_query_model(client, x)) - 1, '\\n')",
    "client_query_model_async(client, many)",
    "cat('asking 2\\n')",
    "tryCatch(client_query_model_join(client), interrupt = function(i) cat('interrupted 2\\n'))",
    "cat('usable 2', which.max(predict(client, x)) - 1, '\\n')",
    "sy_stop(cluster)",
    "cat('stopped\\n')"
  ))
  for (round in 1:2) {
    read_until(session, paste("asking", round), seconds = 120)
    Sys.sleep(0.5)
    session$process$interrupt()
    # Early enough: the whole answer would take longer than the pause.
    said <- read_until(session, paste("usable", round))
    expect_match(said, paste("interrupted", round), all = FALSE)
    expect_match(said, paste("usable", round, "7"), all = FALSE)
  }
  read_until(session, "stopped")
  expect_ends_well(session)
})

test_that("an interrupt in with_sy_cluster() stops the cluster", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(c(
    "library(syfr)",
    "tryCatch(",
    "  with_sy_cluster({",
    "    cat('pids', sy_status(cluster)$pid, '\\n')",
    "    Sys.sleep(60)",
    "  }),",
    "  interrupt = function(i) cat('interrupted\\n')",
    ")",
    "Sys.sleep(30)"
  ))
  pids <- named_pids(session)
  session$process$interrupt()
  read_until(session, "interrupted", seconds = 15)
  expect_gone(pids)
})

test_that("an interrupt ends the wait for a worker that is there but never answers", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  hosts <- free_hosts()
  dir <- tempfile("credentials")
  suppressMessages(sy_credentials_create(dir, hosts, clients = "ann"))
  silent <- lapply(as.integer(sub("localhost:", "", hosts)), serverSocket)
  on.exit(lapply(silent, close))
  session <- r_session(args = c(hosts, file.path(dir, "ann")), c(
    "library(syfr)",
    "given <- commandArgs(TRUE)",
    "cluster <- sy_cluster(given[1], given[2], given[3])",
    "client <- sy_client(given[4])",
    "for (round in 1:2) {",
    "  cat('connecting', round, '\\n')",
    "  tryCatch(",
    "    client_connect_to_model(client, c(1, 2), c(1, 2), cluster),",
    "    interrupt = function(i) cat('interrupted', round, '\\n')",
    "  )",
    "}"
  ))
  for (round in 1:2) {
    read_until(session, paste("connecting", round))
    Sys.sleep(0.5)
    session$process$interrupt()
    read_until(session, paste("interrupted", round), seconds = 15)
  }
  expect_ends_well(session)
})
