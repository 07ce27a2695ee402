# Waiting for long work in short steps, so that Esc, Stop and Ctrl-C are safe on every version of reticulate.

# How long one step may stay in Python, which returns at once when the work is done.
step_seconds <- 0.02

# Run a Python task to its end and return its result.
#
# An interrupt during a call into Python can kill R (reticulate before 1.37), so interrupts are held back during a
# step and taken between two steps, in Sys.sleep(). Nothing is slept before the first step or after the last.
# `cancel` is called when the wait is left early.
wait_for <- function(task, call = sys.call(-1), cancel = function() task$cancel()) {
  force(call)
  finished <- FALSE
  reporter <- new_reporter()
  on.exit(if (!finished) suspendInterrupts(leave_early(cancel)))
  repeat {
    done <- suspendInterrupts(from_python(task$step(step_seconds), call))
    lapply(suspendInterrupts(task$events()), reporter)
    if (done) break
    Sys.sleep(0.0005)
  }
  finished <- TRUE
  suspendInterrupts(from_python(task$result(), call))
}

# On reticulate 1.28 the first Python exception after an interrupt is reported as another interrupt: let it be one
# that nobody misses.
leave_early <- function(cancel) {
  int <- reticulate::import_builtins()$int
  tryCatch(int("not a number"), error = identity, interrupt = identity)
  tryCatch(cancel(), error = identity, interrupt = identity)
  reticulate::py_clear_last_error()
}

# A function that shows the events of one task. Python reports events as data and prints nothing.
new_reporter <- function() {
  shown_at <- -Inf
  function(event) {
    if (event$event == "manual_command") return(show_manual_command(event))
    if (quiet()) return(invisible())
    switch(event$event,
      worker_ready = cli::cli_alert_success("{event$worker} is ready at {event$host}."),
      waiting = cli::cli_alert_info("Waiting for {event$worker} at {event$host}."),
      served = {
        # A busy model is told once a second, a demonstration row by row.
        now <- proc.time()[["elapsed"]]
        last <- !is.null(event$of) && event$served >= event$of
        if (event$served <= 10 || last || now - shown_at >= 1) {
          shown_at <<- now
          show_served(event)
        }
      }
    )
    invisible()
  }
}

show_manual_command <- function(event) {
  cli::cli_alert_info("Run this on the host of {event$worker} ({event$host}):")
  cli::cli_verbatim(paste0("    ", event$command))
}

show_served <- function(event) {
  count <- format(event$served)
  if (is.null(event$of)) {
    cli::cli_alert_success("served {count}")
  } else {
    cli::cli_alert_success("served {count} of {format(event$of)}")
  }
}
