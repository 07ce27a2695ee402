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
  on.exit(if (!finished) leave_early(task))
  report <- new_reporter()
  advance <- bundle("advance")
  repeat {
    outcome <- suspendInterrupts(advance(task, step_seconds))
    finished <- outcome$done
    lapply(outcome$events, report)
    if (finished) return(value_of(outcome, call))
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

# A function that shows the events of one task. Python reports events as data and prints nothing.
new_reporter <- function() {
  shown_at <- -Inf
  function(event) {
    if (event$event == "manual_command") show_manual_command(event)
    if (event$event == "worker_left") show_left(event)
    if (quiet()) return(invisible())
    switch(event$event,
      worker_ready = cli::cli_alert_success("{event$worker} is ready at {event$address}"),
      served = {
        # A busy model is told once a second, a demonstration request by request.
        now <- proc.time()[["elapsed"]]
        if (event$served <= 10 || identical(event$served, event$of) || now - shown_at >= 1) {
          shown_at <<- now
          show_served(event)
        }
      }
    )
    invisible()
  }
}

# What a user must do for the work to go on is shown even when progress is silenced.
show_manual_command <- function(event) {
  if (!is.null(event$copy)) {
    cli::cli_alert_info("Copy the folder {.path {event$copy}} to the host {event$host}, then run there:")
  } else {
    cli::cli_alert_info("Start {event$worker} by hand on {event$host}:")
  }
  cli::cli_verbatim(paste0("    ", event$command))
}

show_left <- function(event) {
  cli::cli_alert_warning("{event$worker} at {event$address} is left running. {event$remedy}")
}

show_served <- function(event) {
  limit <- if (is.null(event$of)) "" else paste(" of", format(event$of))
  cli::cli_alert_success(paste0("served ", format(event$served), limit))
}
