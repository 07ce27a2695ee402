# Test coverage of the R package whose sources are in the folder that is named: a line for each file, and one for all.

source_folder <- commandArgs(trailingOnly = TRUE)[[1]]
Sys.setenv(NOT_CRAN = "true")
coverage <- covr::package_coverage(source_folder, type = "tests", quiet = TRUE, clean = FALSE)
found <- covr::coverage_to_list(coverage)
files <- sort(found$filecoverage)
cat(sprintf("%-28s %6.1f%%", names(files), files), sep = "\n")
cat(sprintf("\nR: %.1f%% of expressions\n", found$totalcoverage))
