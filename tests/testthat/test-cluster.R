test_that("describing a cluster needs no Python and starts nothing", {
  cluster <- sy_cluster("localhost:4000", sy_worker("localhost:4001"), sy_worker("10.0.0.5:4000", FALSE))
  expect_s3_class(cluster, "syfr_cluster")
  expect_identical(format(cluster), c(
    "<cluster of three workers>",
    "  server0           localhost:4000  auto-managed",
    "  server1           localhost:4001  auto-managed",
    "  server2 (dealer)  10.0.0.5:4000   started by hand"
  ))
  expect_output(print(cluster), "server2 \\(dealer\\)")
})

test_that("what is no worker or no cluster is named", {
  expect_error(sy_cluster("localhost:1", "localhost:2", 3), "`w2` is not a worker", class = "syfr_error_type")
  expect_error(sy_cluster("localhost:1", "localhost:2", "localhost:1"), "localhost:1", class = "syfr_error_type")
  expect_error(sy_start("localhost:1"), "`cluster` is not a cluster", class = "syfr_error_type")
  expect_error(sy_status(NULL), class = "syfr_error_type")
})

test_that("a cluster that stops by itself is looked at before it is started or stopped", {
  wrong <- "`cluster` is not a cluster"
  expect_error(with_sy_cluster(1, cluster = 3), wrong, class = "syfr_error_type")
  expect_error(local_sy_cluster(3), wrong, class = "syfr_error_type")
  expect_error(with_sy_cluster(), "no `code`", class = "syfr_error_type")
})

test_that("workers made in Python are accepted, and so is their cluster", {
  skip_without_python()
  local_deadline(300)
  worker <- sy$TFEWorker(host = "localhost:4000", auto_managed = TRUE)
  cluster <- sy_cluster(worker, "localhost:4001", sy_worker("localhost:4002"))
  expect_identical(unname(cluster$hosts), paste0("localhost:400", 0:2))
  workers <- lapply(cluster$hosts, function(host) sy$TFEWorker(host = host, auto_managed = FALSE))
  python <- do.call(sy$TFECluster, unname(workers))
  expect_identical(as_cluster(python)$hosts, cluster$hosts)
  expect_identical(unname(as_cluster(python)$auto_managed), rep(FALSE, 3))
})

test_that("a cluster starts, is found running by another description, and stops without a trace", {
  skip_without_python()
  local_deadline(300)
  cluster <- sy_cluster_local()
  said <- capture_messages(expect_invisible(sy_start(cluster)))
  expect_match(said, "is ready at localhost", all = TRUE)
  expect_length(said, 3)

  again <- do.call(sy_cluster, unname(as.list(cluster$hosts)))
  suppressMessages(sy_start(again))
  status <- sy_status(again)
  expect_identical(status$worker, c("server0", "server1", "server2"))
  expect_identical(status$address, unname(cluster$hosts))
  expect_true(all(status$running & status$ours))
  expect_identical(status$pid, sy_status(cluster)$pid)
  expect_identical(status$models, rep(0L, 3))

  expect_identical(expect_invisible(sy_stop(cluster)), cluster)
  expect_gone(status$pid)
  expect_identical(list.files(file.path(Sys.getenv("R_USER_DATA_DIR"), "R", "syfr", "clusters"), pattern = sub(
    ":", "-", cluster$hosts[[1]]
  )), character())
})

test_that("progress can be silenced", {
  skip_without_python()
  local_deadline(300)
  old <- options(syfr.progress = FALSE)
  on.exit(options(old))
  expect_silent(with_sy_cluster(NULL))
})

test_that("a port that is in use is named", {
  skip_without_python()
  local_deadline(300)
  hosts <- free_hosts()
  taken <- serverSocket(as.integer(sub("localhost:", "", hosts[2])))
  on.exit(close(taken))
  cluster <- sy_cluster(hosts[1], hosts[2], hosts[3])
  expect_error(suppressMessages(sy_start(cluster, timeout = 30)), hosts[2], class = "syfr_error_port_in_use")
})

test_that("a worker on another host cannot be managed from here", {
  skip_without_python()
  local_deadline(300)
  cluster <- sy_cluster("localhost:4000", "localhost:4001", "192.0.2.1:4002")
  expect_error(sy_start(cluster), "192.0.2.1:4002", class = "syfr_error_type")
})

test_that("workers started by hand are waited for, and the message says which did not come", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  skip_if_not_installed("processx")
  hosts <- free_hosts()
  cluster <- sy_cluster(hosts[1], hosts[2], sy_worker(hosts[3], auto_managed = FALSE))
  expect_error(
    suppressMessages(sy_start(cluster, timeout = 8)), paste("server2 at", hosts[3]),
    class = "syfr_error_unreachable"
  )

  by_hand <- NULL
  on.exit(if (!is.null(by_hand)) by_hand$kill(), add = TRUE)
  withCallingHandlers(
    sy_start(cluster, timeout = 60),
    message = function(message) {
      command <- grep("syfr.player", strsplit(conditionMessage(message), "\n")[[1]], value = TRUE)
      if (length(command) == 1) by_hand <<- processx::process$new("sh", c("-c", paste("exec env", trimws(command))))
      tryInvokeRestart("muffleMessage")
    }
  )
  status <- sy_status(cluster)
  expect_identical(status$ours, c(TRUE, TRUE, FALSE))
  expect_identical(status$pid[3], by_hand$get_pid())

  # It outlives the others, and the user is told.
  expect_message(sy_stop(cluster), "server2 at .* is left running")
  expect_gone(status$pid[1:2])
  expect_true(by_hand$is_alive())
})

test_that("with_sy_cluster() and local_sy_cluster() stop it in the end", {
  skip_without_python()
  local_deadline(300)
  pids <- NULL
  suppressMessages(expect_error(with_sy_cluster({
    pids <<- sy_status(cluster)$pid
    stop("of the code")
  }), "of the code"))
  expect_gone(pids)

  count <- function() {
    cluster <- local_sy_cluster()
    pids <<- sy_status(cluster)$pid
    length(pids)
  }
  suppressMessages(expect_identical(count(), 3L))
  expect_gone(pids)
  expect_error(local_sy_cluster(envir = globalenv()), "sy_start", class = "syfr_error_type")

  # What goes wrong at the start is what is told.
  remote <- sy_cluster("localhost:4000", "localhost:4001", "192.0.2.1:4002")
  expect_error(with_sy_cluster(NULL, remote), "192.0.2.1:4002", class = "syfr_error_type")
})

test_that("a worker that has gone is a row of the status, with the reason", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  suppressMessages(with_sy_cluster({
    pid <- sy_status(cluster)$pid[2]
    tools::pskill(pid, tools::SIGKILL)
    expect_gone(pid)
    status <- sy_status(cluster)
    expect_identical(status$running, c(TRUE, FALSE, TRUE))
    expect_match(status$problem[2], "^server1 at")
    expect_identical(status$pid[2], NA_integer_)
  }))
})
