hosts <- c("alice.example:4000", "bob.example", "10.0.0.7")

local_credentials <- function(hosts, clients = character(), envir = parent.frame()) {
  dir <- tempfile("credentials")
  do.call(base::on.exit, list(bquote(unlink(.(dir), recursive = TRUE)), add = TRUE), envir = envir)
  suppressMessages(sy_credentials_create(dir, hosts, clients))
  dir
}

test_that("each party gets a folder of its own, and the list says so", {
  skip_without_python()
  local_deadline(300)
  dir <- local_credentials(hosts, c("ann", "ben"))
  parties <- sy_credentials(dir)
  expect_s3_class(parties, "data.frame")
  expect_named(parties, c("name", "role", "state", "expires", "folder"))
  expect_identical(parties$name, c("server0", "server1", "server2", "owner", "ann", "ben"))
  expect_identical(parties$role, c("server0", "server1", "server2", "owner", "client", "client"))
  expect_identical(unique(parties$state), "good")
  expect_s3_class(parties$expires, "POSIXct")
  expect_equal(as.numeric(parties$expires[1] - Sys.time(), units = "days"), 365, tolerance = 0.01)
  expect_true(all(file.exists(file.path(parties$folder, "key.pem"))))
})

test_that("clients are added, certificates renewed and revoked", {
  skip_without_python()
  local_deadline(300)
  dir <- local_credentials(hosts)
  added <- suppressMessages(sy_credentials_add_client(dir, "ann", days = 30))
  expect_identical(basename(added$folder), "ann")
  suppressMessages(expect_message(sy_credentials_revoke(dir, "ann"), "revoked.json"))
  expect_identical(sy_credentials(dir)$state, c("good", "good", "good", "good", "revoked"))
  suppressMessages(expect_message(
    renewed <- sy_credentials_renew(dir, "server1", 10, revoke_old = TRUE), "in the place of the old one"
  ))
  expect_identical(renewed$state, "good")
  expect_lt(as.numeric(renewed$expires - Sys.time(), units = "days"), 11)
  unlink(file.path(dir, "server1"), recursive = TRUE)
  expect_identical(sy_credentials(dir)$folder[2], NA_character_)
  expect_identical(sy_credentials(file.path(dir, "ann"))$name, "ann")
})

test_that("nothing is said when progress is silenced", {
  skip_without_python()
  local_deadline(300)
  old <- options(syfr.progress = FALSE)
  on.exit(options(old))
  dir <- tempfile()
  on.exit(unlink(dir, recursive = TRUE), add = TRUE)
  expect_silent({
    sy_credentials_create(dir, hosts)
    sy_credentials_add_client(dir, "ann")
    sy_credentials_renew(dir, "ann", revoke_old = TRUE)
    sy_credentials_revoke(dir, "ann")
  })
})

test_that("what cannot be meant is an error that names it", {
  skip_without_python()
  local_deadline(300)
  dir <- local_credentials(c(server2 = "a", server0 = "b", server1 = "c"))
  config <- readLines(file.path(dir, "cluster.json"), warn = FALSE)
  expect_match(config, "\"server0\": \"b:4000\"", all = FALSE)
  expect_error(sy_credentials_create(dir, hosts), "not empty", class = "syfr_error_credentials")
  expect_error(sy_credentials_add_client(dir, "owner"), "cannot be called", class = "syfr_error_credentials")
  expect_error(sy_credentials_revoke(dir, "mallory"), "mallory", class = "syfr_error_credentials")
  expect_error(sy_credentials_renew(dir, "owner", days = 1.5), "days", class = "syfr_error_type")
  expect_error(sy_credentials_renew(dir, "owner", revoke_old = NA), "revoke_old", class = "syfr_error_type")
  expect_error(sy_credentials(tempfile()), "no credentials", class = "syfr_error_credentials")
  for (wrong in list("a", hosts[1:2], 1:3, NULL, c(server0 = "a", b = "b", server2 = "c"))) {
    expect_error(sy_credentials_create(tempfile(), wrong), "hosts", class = "syfr_error_type")
  }
})

test_that("a client asks with its own folder, until it is revoked", {
  skip_without_keras()
  local_deadline(300)
  workers <- free_hosts()
  dir <- local_credentials(workers, c("ann", "ben"))
  cluster <- sy_cluster(workers[1], workers[2], workers[3], credentials = dir)
  on.exit(suppressMessages(sy_stop(cluster)))
  suppressMessages(sy_start(cluster))
  model <- suppressMessages(sy_share(bundled_model(), cluster))
  sy_serve(model, block = FALSE, per_client = 2)
  ask <- function(name, rows = 1) {
    client <- sy_client(credentials = file.path(dir, name))
    client_connect_to_model(client, c(1, 28, 28, 1), c(1, 10), cluster)
    client_query_model(client, sample_digits()$x[seq_len(rows), , , , drop = FALSE])
  }
  expect_identical(dim(ask("ann")), c(1L, 10L))
  expect_error(ask("ann", rows = 2), "per_client.*'ann' has 1 left", class = "syfr_error_not_served")
  expect_error(sy_serve(model, per_client = 0), "per_client", class = "syfr_error_range")
  suppressMessages(sy_credentials_revoke(dir, "ann"))
  expect_error(ask("ann"), "revoked", class = "syfr_error_credentials")
  expect_identical(dim(ask("ben")), c(1L, 10L))

  # A client who calls itself an owner.
  impostor <- tempfile("impostor")
  dir.create(impostor)
  file.copy(file.path(dir, "ben"), impostor, recursive = TRUE)
  file.rename(file.path(impostor, "ben"), file.path(impostor, "owner"))
  false <- sy_cluster(workers[1], workers[2], workers[3], credentials = impostor)
  expect_error(sy_models(false), "ben", class = "syfr_error_refused")

  client <- sy_client(credentials = file.path(dir, "ben"))
  client_connect_to_model(client, c(1, 28, 28, 1), c(1, 10), cluster)
  expect_error(client_query_model(client, sample_digits()$x[1:200, , , ], timeout = 1e-6), class = "syfr_error_deadline")
  suppressMessages(sy_stop(cluster))
  expect_error(ask("ben"), class = "syfr_error_unreachable")
})
