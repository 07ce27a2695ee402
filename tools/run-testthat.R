# Runs tests/testthat against the installed package and ends with one line of counts.
# With NOT_CRAN the tests that start processes run too; R CMD check leaves them out.

Sys.setenv(NOT_CRAN = "true")
results <- testthat::test_dir(
  "tests/testthat",
  package = "syfr",
  load_package = "installed",
  reporter = testthat::CheckReporter,
  stop_on_failure = FALSE
)
results <- as.data.frame(results)
failed <- results$failed > 0 | results$error
skipped <- results$skipped & !failed
cat(sprintf("testthat: %d passed, %d failed, %d skipped\n", sum(!failed & !skipped), sum(failed), sum(skipped)))
quit(status = any(failed) || nrow(results) == 0)
