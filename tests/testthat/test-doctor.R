test_that("requirements of pip are read: names, bounds, and for which Python they are", {
  keras <- parse_requirement("keras>=3.12.4,<3.13; python_version < '3.11'", "3.10")
  expect_identical(keras$name, "keras")
  expect_identical(keras$bounds, data.frame(relation = c(">=", "<"), version = c("3.12.4", "3.13")))
  expect_true(keras$applies)
  expect_false(parse_requirement("keras>=3.12.4,<3.13; python_version < '3.11'", "3.11.2")$applies)
  expect_true(parse_requirement("keras>=3.14; python_version >= '3.11'", "3.11")$applies)
  expect_identical(unname(within_bounds("3.13.0", keras$bounds)), c(TRUE, FALSE))
  expect_identical(unname(within_bounds("3.12.5rc1", keras$bounds)), c(TRUE, TRUE))
  # Every line that is shipped has a bound: a line that is not understood would be one without.
  shipped <- lapply(unlist(lapply(requirement_files(TRUE), readLines)), parse_requirement, python = "3.11")
  expect_true(all(vapply(shipped, function(part) nrow(part$bounds) > 0, NA)))
})

test_that("a package that is missing or too old is named, with what to do", {
  versions <- c(Python = "3.11", numpy = "2.1.0", numba = NA)
  rows <- examine_packages(c("numpy>=1.26,<2", "numba>=0.61", "keras>=3.12; python_version < '3.11'"), versions)
  expect_identical(rows$state, c("bad", "bad"))
  expect_identical(rows$finding, c("numpy 2.1.0, where >=1.26,<2 is needed", "numba is not installed"))
  expect_match(rows$remedy, "install_syfr", all = TRUE)
  expect_identical(examine_packages("numpy>=1.26", versions)$state, "good")
  expect_identical(examine_version("3.9.1", "/usr/bin/python3")$state, "bad")
})

test_that("a folder that cannot be written to is named", {
  file <- tempfile()
  file.create(file)
  expect_identical(examine_folder("shares", file.path(tempdir(), "not", "yet"))$state, "good")
  expect_identical(examine_folder("shares", file.path(file, "below"))$state, "bad")
})

test_that("what is found prints as a list and ends in one line", {
  rows <- rbind(finding("R", "R is here"), finding("Python", "it is not", "Call install_syfr()."))
  found <- structure(rows, class = c("syfr_doctor", "data.frame"))
  lines <- cli::ansi_strip(format(found))
  expect_length(lines, 6)
  expect_match(lines[5], "Call install_syfr")
  expect_identical(lines[6], "1 thing to mend.")
  found <- found[1, ]
  expect_identical(cli::ansi_strip(format(found))[3], "Nothing is wrong.")
  expect_output(print(found), "R is here")
})

test_that("the doctor names a port that is taken, and a worker that is not there", {
  skip_without_python()
  local_deadline(300)
  hosts <- free_hosts()
  taken <- serverSocket(as.integer(sub("localhost:", "", hosts[2])))
  on.exit(close(taken))
  found <- sy_doctor(sy_cluster(hosts[1], hosts[2], sy_worker(hosts[3], FALSE)), timeout = 5)
  expect_s3_class(found, c("syfr_doctor", "data.frame"))
  expect_identical(names(found), c("subject", "state", "finding", "remedy"))
  expect_identical(unique(found$subject), c("R", "Python", "folders", "certificates", "workers"))
  expect_false(anyNA(found$remedy[found$state == "bad"]))
  workers <- found[found$subject == "workers", ]
  expect_identical(workers$state, c("note", "bad", "bad"))
  expect_match(workers$finding[2], "another program has this port")
  expect_match(workers$finding[3], "does not answer")
  expect_error(sy_doctor("localhost:4000"), class = "syfr_error_type")
})

test_that("a worker of another machine is none that sy_start() can start", {
  skip_without_python()
  away <- examine_worker("server0", "nosuchhost.invalid:4520", TRUE, NULL, 1)
  expect_identical(away$state, "bad")
  expect_match(away$remedy, "auto_managed = FALSE")
  expect_identical(examine_worker("server0", free_hosts()[1], TRUE, NULL, 1)$state, "note")
})

test_that("the doctor finds nothing wrong with a cluster that runs", {
  skip_without_python()
  local_deadline(300)
  found <- sy_doctor(test_cluster())
  expect_identical(found$finding[found$state == "bad"], character())
  expect_match(found$finding[found$subject == "workers"], "runs$", all = TRUE)
  expect_match(found$finding[found$subject == "certificates"], "good for 36[45] days", all = TRUE)
})

test_that("certificates that end soon, are revoked, or can be read by others are named", {
  skip_without_python()
  local_deadline(300)
  dir <- tempfile("credentials")
  hosts <- c("alice.example", "bob.example", "carol.example")
  suppressMessages({
    sy_credentials_create(dir, hosts, clients = c("ann", "ben"))
    sy_credentials_add_client(dir, "cyd", days = 3)
    sy_credentials_revoke(dir, "ann")
  })
  Sys.chmod(file.path(dir, "ben", "key.pem"), "644")
  cluster <- sy_cluster("alice.example:4000", "bob.example:4001", "carol.example:4002", credentials = dir)
  found <- examine_certificates(cluster, NULL)
  state <- stats::setNames(found$state, sub(":.*", "", found$finding))
  expect_identical(state[["ann"]], "bad")
  if (.Platform$OS.type != "windows") expect_identical(state[["ben"]], "bad")
  expect_identical(state[["cyd"]], "note")
  expect_match(found$remedy[found$state == "note"], "sy_credentials_renew", fixed = TRUE)
  expect_identical(state[["owner"]], "good")
  expect_match(found$finding[found$state == "bad"], "revoked", all = FALSE)

  empty <- sy_cluster("localhost:4000", "localhost:4001", "localhost:4002", credentials = tempfile())
  expect_match(examine_certificates(empty, NULL)$remedy, "sy_credentials_create")
})
