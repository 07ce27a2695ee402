topics <- function() {
  topic <- function(rd) {
    tags <- vapply(rd, function(part) attr(part, "Rd_tag"), "")
    text <- function(tag) trimws(vapply(rd[tags == tag], function(part) paste(unlist(part), collapse = ""), ""))
    list(tags = tags, aliases = text("\\alias"), internal = "internal" %in% text("\\keyword"))
  }
  lapply(tools::Rd_db("syfr"), topic)
}

test_that("the help of each function says what it returns, and has an example", {
  for (page in Filter(function(topic) "\\usage" %in% topic$tags, topics())) {
    expect_true(all(c("\\title", "\\description", "\\value", "\\examples") %in% page$tags), page$aliases[1])
  }
})

test_that("each export has a help page, and the site's reference and articles are complete", {
  pages <- topics()
  # Without the tables of S4 methods; the methods themselves have aliases like rowSums,syfr_private-method.
  exports <- grep("^[.]__", getNamespaceExports("syfr"), value = TRUE, invert = TRUE)
  aliases <- sub(",.*-method$", "", unlist(lapply(pages, `[[`, "aliases")))
  expect_identical(setdiff(exports, aliases), character())

  site <- test_path("..", "..", "_pkgdown.yml")
  skip_if_not(file.exists(site), "The installed package has no _pkgdown.yml")
  lines <- readLines(site)
  # Before "articles:" the items of lists are topics, after it vignettes.
  half <- cumsum(lines == "articles:")
  items <- function(lines) sub("^ *- +", "", grep("^ *- +[A-Za-z_][A-Za-z0-9_.-]*$", lines, value = TRUE))
  listed <- items(lines[half == 0])
  public <- Filter(function(page) !page$internal, pages)
  forgotten <- Filter(function(page) !any(page$aliases %in% listed), public)
  expect_identical(names(forgotten), character())
  expect_identical(setdiff(listed, unlist(lapply(public, `[[`, "aliases"))), character())
  expect_identical(anyDuplicated(listed), 0L)
  vignettes <- sub("\\.Rmd$", "", list.files(test_path("..", "..", "vignettes"), pattern = "\\.Rmd$"))
  expect_setequal(items(lines[half == 1]), vignettes)
})
