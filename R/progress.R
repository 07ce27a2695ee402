# How long work goes on, told to the user. Python reports events as data and prints nothing.

# Whether the user wants to be told how long work goes on; what is needed to go on is told anyhow.
quiet <- function() isFALSE(getOption("syfr.progress", TRUE))

# A bar where a line can be written over, as in a terminal or in RStudio; lines in Rscript and knitr.
progress_style <- function() {
  if (quiet()) return("none")
  if (interactive() && cli::is_dynamic_tty()) "bar" else "lines"
}

# Shows the events of one task: `show()` takes an event, `tick()` is called while nothing happens, and `close()` at the
# end, at whatever point the work ended.
new_reporter <- function(style = progress_style()) {
  counter <- switch(style, bar = new_bar(), lines = new_lines())
  show <- function(event) {
    if (event$event == "manual_command") show_manual_command(event)
    if (event$event == "worker_left") show_left(event)
    if (style == "none") return(invisible())
    switch(event$event,
      # The last that is told before it is waited.
      manual_command = counter$status("Waiting for workers that are started by hand"),
      worker_starting = counter$status(sprintf("Starting %s", event$worker)),
      worker_ended = cli::cli_alert_warning("{event$worker} at {event$address} has ended and is started again"),
      worker_ready = cli::cli_alert_success("{event$worker} is ready at {event$address}"),
      sharing = counter$status(sprintf("Sharing '%s'", event$name)),
      shared = cli::cli_alert_success("shared {.val {event$name}} among the workers"),
      serving = counter$begin("served", event$of),
      prepared = counter$prepared(event$rows, event$of),
      served = counter$count("served", event$served, event$of),
      shared_rows = if (counter$begun() || event$rows < event$of) counter$count("shared rows", event$rows, event$of),
      # An answer that comes in one part needs no progress.
      answered = if (counter$begun() || event$rows < event$of) counter$count("answered", event$rows, event$of)
    )
    invisible()
  }
  nothing <- function() NULL
  if (style == "none") counter <- list(tick = nothing, close = nothing)
  list(show = show, tick = counter$tick, close = counter$close)
}

# Lines, not too many: the first ten, then one a second, and the last.
new_lines <- function() {
  shown_at <- -Inf
  begun <- FALSE
  lines <- 0
  filling <- TRUE
  filling_since <- NULL
  list(
    status = function(text) NULL,
    begin = function(what, of) NULL,
    begun = function() begun,
    # Until the store has been full; from then on it is filled again behind every query.
    prepared = function(rows, of) {
      now <- proc.time()[["elapsed"]]
      if (is.null(filling_since)) filling_since <<- now
      if (filling && (rows >= of || now - filling_since >= patience_filling)) {
        filling <<- rows < of
        filling_since <<- now
        cli::cli_alert_success(paste(count_text("prepared", rows, of), "rows for queries to come"))
      }
    },
    count = function(what, done, of) {
      begun <<- TRUE
      now <- proc.time()[["elapsed"]]
      if (lines < 10 || identical(done, of) || now - shown_at >= 1) {
        shown_at <<- now
        lines <<- lines + 1
        cli::cli_alert_success(count_text(what, done, of))
      }
    },
    tick = function() NULL,
    close = function() NULL
  )
}

# Seconds after which a line tells how far it is with preparing rows, while that goes on.
patience_filling <- 5

count_text <- function(what, done, of) {
  number <- function(x) format(x, big.mark = ",", trim = TRUE)
  paste0(what, " ", number(done), if (!is.null(of)) paste(" of", number(of)))
}

# A bar of cli, or a spinning wheel for work without an end that is known. It goes when the work ends; what was counted
# stays as a line.
new_bar <- function() {
  bar <- NULL
  last <- NULL
  frame <- environment()
  close_bar <- function() {
    if (!is.null(bar)) cli::cli_progress_done(id = bar, .envir = frame)
    bar <<- NULL
  }
  open_bar <- function(format, total) {
    close_bar()
    # At once: whoever waits shall see for what.
    old <- options(cli.progress_show_after = 0)
    on.exit(options(old))
    bar <<- cli::cli_progress_bar(format = format, total = total, .envir = frame, .auto_close = FALSE)
    cli::cli_progress_update(set = 0, id = bar, force = TRUE, .envir = frame)
  }
  begin <- function(what, of) {
    ends <- c("{cli::pb_spin} %s {cli::pb_current}", "%s {cli::pb_bar} {cli::pb_current} of {cli::pb_total}")
    open_bar(paste(sprintf(ends[2 - is.null(of)], what), "{cli::pb_status}"), if (is.null(of)) NA else of)
    last <<- count_text(what, 0, of)
  }
  list(
    status = function(text) open_bar(paste("{cli::pb_spin}", text), NA),
    begin = begin,
    begun = function() !is.null(last),
    prepared = function(rows, of) {
      text <- paste0("(", count_text("prepared", rows, of), " rows)")
      if (!is.null(bar)) cli::cli_progress_update(inc = 0, status = text, id = bar, force = TRUE, .envir = frame)
    },
    count = function(what, done, of) {
      if (is.null(last)) begin(what, of)
      last <<- count_text(what, done, of)
      # A bar that is full would end itself.
      if (is.null(of) || done < of) cli::cli_progress_update(set = done, id = bar, force = TRUE, .envir = frame)
    },
    # cli moves the bar as often as is good for the eye, whatever is asked.
    tick = function() if (!is.null(bar)) cli::cli_progress_update(inc = 0, id = bar, .envir = frame),
    close = function() {
      close_bar()
      if (!is.null(last)) cli::cli_alert_success(last)
    }
  )
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
