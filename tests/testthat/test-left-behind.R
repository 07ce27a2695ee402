test_that("workers end when the R session that started them is killed", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(c(
    "library(syfr)",
    "cluster <- sy_start(sy_cluster_local())",
    "cat('pids', sy_status(cluster)$pid, '\n')",
    "Sys.sleep(600)"
  ))
  pids <- named_pids(session)
  expect_true(all(vapply(pids, is_running, NA)))
  session$process$signal(tools::SIGKILL)
  expect_gone(pids)
})

test_that("workers end when the R session that started them ends, and leave no files", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  local_variables(R_USER_DATA_DIR = tempfile("syfr-data"))
  session <- r_session(c(
    "library(syfr)",
    "cluster <- sy_start(sy_cluster_local())",
    "cat('pids', sy_status(cluster)$pid, '\n')"
  ))
  expect_gone(named_pids(session))
  expect_ends_well(session)
  expect_identical(list.files(file.path(Sys.getenv("R_USER_DATA_DIR"), "R", "syfr", "clusters")), character())
})

test_that("workers go on when the object that described them is thrown away", {
  skip_without_python()
  local_deadline(300)
  hosts <- free_hosts()
  suppressMessages(sy_start(sy_cluster(hosts[1], hosts[2], hosts[3])))
  gc()
  reticulate::import("gc")$collect()
  again <- sy_cluster(hosts[1], hosts[2], hosts[3])
  expect_identical(sy_status(again)$running, rep(TRUE, 3))
  suppressMessages(sy_stop(sy_start(again)))
  expect_identical(sy_status(again)$running, rep(FALSE, 3))
})
