library(testthat)
library(syfr)

test_check("syfr")
