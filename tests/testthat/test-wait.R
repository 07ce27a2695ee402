# Tasks of our own, made of the same class as those that wait for workers.
tasks <- function() {
  python_module("
import time
from syfr.errors import NotServedError
from syfr.face.tasks import Task, Wait, pause

log = []

def _three(emit):
    for number in range(1, 4):
        emit('served', served=number, of=3)
        yield from pause(0.01)
    return 'done'

def _failing(emit):
    yield from pause(0.01)
    raise NotServedError('Nothing is served. Ask the owner.')

def _endless(emit):
    emit('served', served=1, of=None)
    try:
        while True:
            yield from pause(0.01)
    finally:
        log.append('cleaned up')

def _at_once(emit):
    return 42
    yield

def three(): return Task(_three)
def failing(): return Task(_failing)
def endless(): return Task(_endless)
def at_once(): return Task(_at_once)
def logged(): return list(log)
")
}

test_that("a task is stepped to its end and its result comes back", {
  skip_without_python()
  local_deadline(300)
  expect_message(expect_identical(wait_for(tasks()$three()), "done"), "served 3 of 3")
})

test_that("progress is silent with an option, but what the user must do is shown", {
  skip_without_python()
  local_deadline(300)
  old <- options(syfr.progress = FALSE)
  on.exit(options(old))
  expect_silent(wait_for(tasks()$three()))
  report <- new_reporter()$show
  event <- list(
    event = "manual_command", worker = "server0", host = "10.0.0.5", copy = "/keys/server0", command = "run me"
  )
  expect_message(report(event), "run me")
  expect_message(report(event), "/keys/server0")
})

test_that("a task that is done at once is not slept for", {
  skip_without_python()
  local_deadline(300)
  expect_identical(wait_for(tasks()$at_once()), 42L)
})

test_that("what fails in a task is a classed error", {
  skip_without_python()
  local_deadline(300)
  expect_error(wait_for(tasks()$failing()), "Nothing is served", class = "syfr_error_not_served")
})

test_that("a wait that ends early cancels its task", {
  skip_without_python()
  local_deadline(300)
  python <- tasks()
  expect_error(withCallingHandlers(wait_for(python$endless()), message = function(m) stop("enough")), "enough")
  expect_identical(python$logged(), "cleaned up")
})
