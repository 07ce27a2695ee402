# Test coverage of the R package whose sources are in the folder that is named: a line for each file, and one for all.

source_folder <- commandArgs(trailingOnly = TRUE)[[1]]
Sys.setenv(NOT_CRAN = "true")

# Every R session leaves what it has counted when it ends. One that a test has killed may leave half a file, which covr
# would stumble over, so what cannot be read goes before covr reads.
library_folder <- tempfile("coverage")
forget_unreadable <- sprintf(
  "for (file in list.files('%s', '^covr_trace_', full.names = TRUE)) tryCatch(readRDS(file), error = \\(e) unlink(file))",
  library_folder
)
coverage <- covr::package_coverage(
  source_folder,
  type = "tests", code = forget_unreadable, install_path = library_folder, quiet = TRUE, clean = FALSE
)
found <- covr::coverage_to_list(coverage)
files <- sort(found$filecoverage)
cat(sprintf("%-28s %6.1f%%", names(files), files), sep = "\n")
cat(sprintf("\nR: %.1f%% of expressions\n", found$totalcoverage))
