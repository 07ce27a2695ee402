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

test_that("workers end when the R session that started them ends", {
  skip_without_python()
  skip_on_os("windows")
  local_deadline(300)
  session <- r_session(c(
    "library(syfr)",
    "cluster <- sy_start(sy_cluster_local())",
    "cat('pids', sy_status(cluster)$pid, '\n')"
  ))
  expect_gone(named_pids(session))
})
