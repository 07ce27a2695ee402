# The scripts of inst/examples as a user runs them: in R sessions of their own. Only the ports are others.

example_script <- function(name, hosts = NULL) {
  lines <- readLines(system.file("examples", name, package = "syfr", mustWork = TRUE))
  for (i in seq_along(hosts)) lines <- gsub(paste0("localhost:", 3999 + i), hosts[i], lines, fixed = TRUE)
  lines
}

serve_and_ask <- function(folder) {
  hosts <- free_hosts()
  owner <- r_session(example_script("serve.R", hosts), wd = folder)
  read_until(owner, "Now run client.R")
  client <- r_session(example_script("client.R", hosts), wd = folder)
  said <- read_until(client, "Actual: 1, predicted: .*")
  read_until(owner, "served 3 of 3")
  expect_ends_well(owner)
  expect_ends_well(client)
  grep("Actual", said, value = TRUE)
}

test_that("serve.R and client.R give the first three digits", {
  skip_without_keras()
  local_deadline(300)
  local_variables(SYFR_MNIST = system.file("extdata", "mnist-sample.npz", package = "syfr"))
  folder <- tempfile("scripts")
  dir.create(folder)
  file.copy(bundled_model(), file.path(folder, "model.hdf5"))
  expect_identical(serve_and_ask(folder), c(
    "Actual: 7, predicted: 7", "Actual: 2, predicted: 2", "Actual: 1, predicted: 1"
  ))
})

test_that("the words of the published workflow work from R", {
  skip_without_keras()
  local_deadline(300)
  local_variables(SYFR_MNIST = system.file("extdata", "mnist-sample.npz", package = "syfr"))
  hosts <- free_hosts()
  # As keras/serve.R, which needs R's keras package, with Python's Keras in its place.
  owner <- r_session(args = c(bundled_model(), hosts), c(
    "library(syfr)",
    "arguments <- commandArgs(TRUE)",
    "keras <- reticulate::import('keras')",
    "hook <- sy$KerasHook(keras)",
    "model <- keras$models$load_model(arguments[1], compile = FALSE)",
    "workers <- lapply(arguments[2:4], function(host) sy$TFEWorker(host = host, auto_managed = TRUE))",
    "cluster <- do.call(sy$TFECluster, workers)",
    "cluster$start()",
    "model$share(cluster)",
    "cat('serving\\n')",
    "model$serve(num_requests = 3L)",
    "print(sy_serve(model, num_requests = 1, block = FALSE))",
    "cluster$stop()"
  ))
  read_until(owner, "^serving")
  client <- r_session(example_script("keras/client.R", hosts))
  said <- read_until(client, "Actual: 1, predicted: 1")
  expect_length(grep("^Actual", said), 3)
  expect_ends_well(owner)
  expect_ends_well(client)
})

test_that("text.R classifies private text", {
  skip_without_keras()
  skip_if_not(identical(Sys.getenv("SYFR_SLOW_TESTS"), "true"), "Slow: set SYFR_SLOW_TESTS=true")
  local_deadline(300)
  session <- r_session(example_script("text.R"))
  said <- read_until(session, "stale again: complains", seconds = 250)
  expect_ends_well(session)
  expect_identical(sub(" \\(.*", "", grep(": (praises|complains)", said, value = TRUE)), c(
    "the film was good: praises",
    "the film was not good: complains",
    "a trip felt never really awful today: praises",
    "the meal seemed very stale again: complains"
  ))
})

test_that("create_model.R trains a model that serve.R and client.R use", {
  skip_without_keras()
  skip_if_not(identical(Sys.getenv("SYFR_SLOW_TESTS"), "true"), "Slow: set SYFR_SLOW_TESTS=true")
  skip_if_not(file.exists(Sys.getenv("SYFR_MNIST")), "SYFR_MNIST names no full copy of MNIST")
  local_deadline(600)
  folder <- tempfile("scripts")
  dir.create(folder)
  training <- r_session(example_script("create_model.R"), wd = folder)
  said <- read_until(training, "Accuracy on the test images", seconds = 400)
  expect_gt(as.numeric(sub("^Accuracy on the test images: *", "", said[length(said)])), 0.9)
  expect_ends_well(training)
  expect_length(serve_and_ask(folder), 3)
})

test_that("the demo shows what it promises", {
  skip_without_keras()
  local_deadline(300)
  demo <- r_session(example_script("demo.R"))
  said <- read_until(demo, "All three workers have ended", seconds = 120)
  expect_ends_well(demo)
  expect_identical(grep("^Actual", said, value = TRUE), c(
    "Actual: 7, predicted: 7", "Actual: 2, predicted: 2", "Actual: 1, predicted: 1"
  ))
  expect_match(said, "A query took [0-9.]+ ms: .* 12 messages", all = FALSE)
  expect_match(said, "server2 received nothing of the image", all = FALSE)
})
