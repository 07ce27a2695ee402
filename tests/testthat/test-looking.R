test_that("logs are read line by line, and say who has linked with whom", {
  skip_without_python()
  local_deadline(300)
  logs <- sy_logs(test_cluster())
  expect_s3_class(logs$time, "POSIXct")
  expect_setequal(logs$worker, c("server0", "server1", "server2"))
  expect_true("linked with server1" %in% logs$message[logs$worker == "server0"])
  expect_false(anyNA(logs))
  expect_identical(nrow(sy_logs(test_cluster(), 1)), 3L)
  expect_identical(nrow(sy_logs(sy_cluster_local())), 0L)
})

test_that("models are listed, and dropped by their names", {
  skip_without_keras()
  local_deadline(300)
  test_model()
  model <- suppressMessages(sy_share(bundled_model(), test_cluster(), name = "to be dropped"))
  sy_serve(model, 3, block = FALSE)
  found <- sy_models(test_cluster())
  found <- found[found$name == "to be dropped", ]
  expect_true(found$serving)
  expect_identical(unlist(found[c("served", "of", "workers")], use.names = FALSE), c(0, 3, 3))
  expect_identical(sy_drop(test_cluster(), "to be dropped"), found$model)
  expect_false("to be dropped" %in% sy_models(test_cluster())$name)
  expect_error(sy_drop(test_cluster(), "to be dropped"), "No model is called", class = "syfr_error_not_shared")
})

test_that("a worker runs from its folder until it is told to end", {
  skip_without_python()
  local_deadline(300)
  skip_if_not(nzchar(Sys.which("pgrep")), "there is no pgrep")
  folder <- file.path(tempfile("syfr"), "made")
  sy_credentials_create(folder, free_hosts())
  expect_error(sy_player(folder), "`role` is", class = "syfr_error_type")
  expect_error(sy_player(file.path(folder, "server0"), config = "nowhere"), class = "syfr_error_type")
  folder0 <- file.path(folder, "server0")
  for (wrong in list(NULL, NA, c("a", "b"), "", 1)) {
    expect_error(sy_player(wrong), "`credentials` is not a single text", class = "syfr_error_type")
    expect_error(sy_player(folder0, wrong), "`role` is not a single text", class = "syfr_error_type")
    expect_error(sy_player(folder0, config = wrong), "`config` is not a single text", class = "syfr_error_type")
  }
  expect_error(sy_player(folder0, listen = c("a", "b")), "`listen`", class = "syfr_error_type")
  expect_error(sy_player(folder0, metrics = NA), "`metrics`", class = "syfr_error_type")
  expect_error(sy_player(folder0, log_format = "xml"), "`log_format` is none of", class = "syfr_error_type")
  code <- c(
    "args <- commandArgs(TRUE)",
    "cat(\"status\", syfr::sy_player(args[1], state_dir = args[2], log_format = \"json\"), \"\\n\")"
  )
  worker_of <- function(session) {
    read_until(session, "\"ready\": true", seconds = 120)
    as.integer(system2("pgrep", c("-P", session$process$get_pid()), stdout = TRUE))
  }
  session <- r_session(code, c(file.path(folder, "server0"), tempfile("state")))
  tools::pskill(worker_of(session), tools::SIGTERM)
  read_until(session, "^status 0")
  expect_ends_well(session)

  session <- r_session(code, c(file.path(folder, "server0"), tempfile("state")))
  worker <- worker_of(session)
  session$process$kill()
  expect_gone(worker)
})
