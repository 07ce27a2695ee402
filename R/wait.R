# Waiting for long work in short steps, so that Esc, Stop and Ctrl-C are safe on every version of reticulate.

# How long one step may stay in Python, which returns at once when the work is done.
step_seconds <- 0.02

# Run a Python task to its end and return its result.
#
# An interrupt during a call into Python can kill R (reticulate before 1.37), so interrupts are held back during a
# step and taken between two steps, in Sys.sleep(). Nothing is slept before the first step or after the last.
# A wait that is left early cancels its task.
wait_for <- function(task, call = sys.call(-1)) {
  force(call)
  force(task)
  finished <- FALSE
  report <- new_reporter()
  on.exit({
    if (!finished) leave_early(task)
    report$close()
  })
  advance <- bundle("advance")
  repeat {
    outcome <- suspendInterrupts(advance(task, step_seconds))
    finished <- outcome$done
    lapply(outcome$events, report$show)
    if (finished) return(value_of(outcome, call))
    report$tick()
    Sys.sleep(0.0005)
  }
}

leave_early <- function(task) {
  suspendInterrupts(task$cancel())
  # On reticulate 1.28 the first Python exception after an interrupt is reported as another interrupt. Let it be one
  # that nobody misses. Interrupts must not be suspended here, or it would only be put off.
  int <- reticulate::import_builtins()$int
  tryCatch(int("not a number"), error = identity, interrupt = identity)
  reticulate::py_clear_last_error()
}
