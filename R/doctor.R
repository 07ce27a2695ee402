# sy_doctor(): looks at everything that must be right before a prediction, and says what to mend.

#' Find out what is wrong, and how to mend it
#'
#' Checks R and reticulate, the Python that is used and its packages, the folders that syfr writes to and, when a
#' cluster is given, its certificates, its ports and its workers. Changes nothing and starts no worker.
#'
#' @param cluster A cluster made by [sy_cluster()], or `NULL` to look at this machine only.
#' @param timeout Seconds to wait for each answer of a worker.
#' @return A data frame of class `syfr_doctor`, which prints as a list, with a row for each thing looked at: `subject`
#'   (`"R"`, `"Python"`, `"folders"`, `"certificates"`, `"workers"`), `state` (`"good"`; `"note"` for what is no fault
#'   but good to know; `"bad"` for what must be mended), `finding` (what was found) and `remedy` (what to do; `NA` when
#'   there is nothing to do).
#' @section Errors:
#' What is wrong is a row, not an error. Only a `cluster` that is none is an error, of class `syfr_error_type`.
#' @seealso [sy_config()] for versions and paths, [sy_status()] for what the workers do.
#' @examplesIf syfr:::can_run()
#' found <- sy_doctor(sy_cluster_local())
#' found
#' found$remedy[found$state == "bad"]
#' @export
sy_doctor <- function(cluster = NULL, timeout = 5) {
  call <- sys.call()
  if (!is.null(cluster)) cluster <- as_cluster(cluster, call)
  found <- rbind(examine_r(), examine_python())
  # Without Python nothing more can be looked at.
  if (!any(found$state == "bad" & found$subject == "Python")) {
    found <- rbind(found, examine_folders())
    if (!is.null(cluster)) {
      found <- rbind(found, examine_certificates(cluster, call), examine_workers(cluster, timeout, call))
    }
  }
  structure(found, class = c("syfr_doctor", "data.frame"))
}

# One row. What has a remedy is bad, unless another state is given.
finding <- function(subject, finding, remedy = NA_character_, state = if (is.na(remedy)) "good" else "bad") {
  data.frame(subject = subject, state = state, finding = finding, remedy = remedy)
}

examine_r <- function() {
  reticulate <- utils::packageVersion("reticulate")
  rbind(
    finding("R", sprintf("R %s, syfr %s", getRversion(), utils::packageVersion("syfr"))),
    if (reticulate >= "1.37") {
      finding("R", sprintf("reticulate %s", reticulate))
    } else {
      finding("R", state = "note", sprintf(
        "reticulate %s: calls of Python's own methods, such as model$serve(), cannot be interrupted safely", reticulate
      ), "Use the functions of R, which can, or install reticulate 1.37 or newer.")
    }
  )
}

examine_python <- function() {
  config <- sy_config()
  if (!is.null(config$problem)) {
    sentences <- strsplit(config$problem, "(?<=\\)[.]) ", perl = TRUE)[[1]]
    return(finding("Python", sentences[1], paste(sentences[-1], collapse = " ")))
  }
  versions <- config$versions
  wanted <- function(keras) unlist(lapply(requirement_files(keras), readLines))
  owners <- examine_packages(setdiff(wanted(TRUE), wanted(FALSE)), versions)
  # Who shares no model of their own needs no Keras.
  owners$state[owners$state == "bad"] <- "note"
  rbind(
    examine_version(versions[["Python"]], config$python),
    examine_packages(c(wanted(FALSE), numpy_requirement()), versions),
    owners,
    examine_tls()
  )
}

examine_version <- function(version, python) {
  if (python_fits(version)) return(finding("Python", sprintf("Python %s, %s", version, python)))
  finding(
    "Python", sprintf("Python %s, %s: syfr needs %s", version, python, python_range),
    "Call install_syfr(python_version = \"3.11\"), then restart R."
  )
}

# A row for each package that the requirements of pip name for this Python.
examine_packages <- function(requirements, versions) {
  parts <- lapply(requirements, parse_requirement, python = versions[["Python"]])
  parts <- Filter(function(part) part$applies, parts)
  names <- vapply(parts, `[[`, "", "name")
  rows <- lapply(unique(names), function(name) {
    bounds <- do.call(rbind, lapply(parts[names == name], `[[`, "bounds"))
    installed <- versions[name]
    remedy <- if (name %in% c("keras", "tensorflow")) {
      "To share models of your own, call install_syfr(), then restart R."
    } else {
      "Call install_syfr(), then restart R."
    }
    if (is.na(installed)) return(finding("Python", sprintf("%s is not installed", name), remedy))
    if (all(within_bounds(installed, bounds))) return(finding("Python", sprintf("%s %s", name, installed)))
    wanted <- paste0(bounds$relation, bounds$version, collapse = ",")
    finding("Python", sprintf("%s %s, where %s is needed", name, installed, wanted), remedy)
  })
  do.call(rbind, rows)
}

# A line such as "keras>=3.12.4,<3.13; python_version < '3.11'": the name, its bounds, whether it is for this Python.
parse_requirement <- function(line, python) {
  relation <- "(>=|<=|<|>|==) *'?([0-9][0-9.]*)"
  bounds_in <- function(text) {
    found <- regmatches(text, gregexpr(relation, text))[[1]]
    data.frame(relation = sub(relation, "\\1", found), version = sub(relation, "\\2", found))
  }
  halves <- strsplit(line, ";", fixed = TRUE)[[1]]
  minor <- sub("^([0-9]+[.][0-9]+).*$", "\\1", python)
  list(
    name = sub("^ *([A-Za-z0-9_.-]*[A-Za-z0-9]).*$", "\\1", halves[1]),
    bounds = bounds_in(halves[1]),
    applies = length(halves) == 1 || all(within_bounds(minor, bounds_in(halves[2])))
  )
}

within_bounds <- function(version, bounds) {
  # Without the letters of a release candidate.
  version <- numeric_version(sub("[.]?[^0-9.].*$", "", version))
  holds <- function(relation, bound) match.fun(relation)(version, numeric_version(bound))
  mapply(holds, bounds$relation, bounds$version)
}

examine_tls <- function() {
  ssl <- reticulate::import("ssl")
  if (isTRUE(ssl$HAS_TLSv1_3)) return(finding("Python", sprintf("TLS 1.3 by %s", ssl$OPENSSL_VERSION)))
  finding(
    "Python", sprintf("%s has no TLS 1.3, which every connection needs", ssl$OPENSSL_VERSION),
    "Install a newer Python, then call install_syfr()."
  )
}

examine_folders <- function() {
  directories <- bundle("syfr.directories")
  rbind(
    examine_folder("certificates and shares", directories$data_directory()),
    examine_folder("compiled code", directories$cache_directory())
  )
}

# Whether a folder, or the nearest one above it that there is, can be written to. file.access() asks for root's rights.
examine_folder <- function(purpose, folder) {
  folder <- as.character(folder)
  place <- folder
  while (!file.exists(place) && dirname(place) != place) place <- dirname(place)
  if (dir.exists(place) && file.access(place, 2) == 0) {
    return(finding("folders", sprintf("%s: %s can be written to", purpose, folder)))
  }
  finding(
    "folders", sprintf("%s: %s cannot be written to", purpose, folder),
    sprintf("Make %s writable, or set the variable SYFR_HOME to another folder.", place)
  )
}

examine_certificates <- function(cluster, call) {
  folder <- as.character(call_python(call, python_cluster(cluster, call)$`__getattribute__`, "directory"))
  parties <- if (dir.exists(folder)) call_python(call, bundle("syfr.face.provision")$examine, folder)
  if (length(parties) > 0) return(do.call(rbind, lapply(parties, examine_party, folder = folder)))
  if (is.null(cluster$credentials)) {
    return(finding("certificates", state = "note", sprintf(
      "there are none in %s yet: sy_start() makes them", folder
    )))
  }
  finding(
    "certificates", sprintf("there are none in %s", folder),
    "Give sy_cluster() the folder in which yours is, or make them with sy_credentials_create()."
  )
}

examine_party <- function(party, folder) {
  if (!is.null(party$problem)) {
    sentences <- strsplit(party$problem, "(?<=[.]) (?=[A-Z])", perl = TRUE)[[1]]
    return(finding(
      "certificates", sprintf("%s: %s", party$name, sentences[1]),
      if (length(sentences) > 1) paste(sentences[-1], collapse = " ") else "Make it again."
    ))
  }
  text <- sprintf("%s: good for %d days", party$name, floor(party$days_left))
  if (party$days_left >= 14) return(finding("certificates", text))
  finding("certificates", text, sprintf("Call sy_credentials_renew(\"%s\", \"%s\").", folder, party$name), "note")
}

examine_workers <- function(cluster, timeout, call) {
  # Workers can be asked with the owner's certificate only.
  status <- tryCatch(
    wait_for(call_python(call, python_cluster(cluster, call)$reporting, timeout), call),
    syfr_error_credentials = function(e) NULL
  )
  rows <- lapply(seq_along(roles), function(i) {
    examine_worker(roles[i], cluster$hosts[[i]], cluster$auto_managed[[i]], status[[i]], timeout)
  })
  do.call(rbind, rows)
}

examine_worker <- function(role, address, auto_managed, report, timeout) {
  name <- sprintf("%s at %s", role, address)
  ours <- utils::packageVersion("syfr")
  if (isTRUE(report$running)) {
    if (identical(report$version, format(ours))) return(finding("workers", paste(name, "runs")))
    return(finding(
      "workers", sprintf("%s runs syfr %s, this session %s", name, report$version, ours),
      "Install the same version everywhere, then restart the worker."
    ))
  }
  if (listens(address, timeout)) return(examine_listener(name, auto_managed && is_local(address), report))
  if (auto_managed && is_local(address)) {
    return(finding("workers", paste(name, "does not run; its port is free"), "sy_start() starts it.", "note"))
  }
  if (auto_managed) {
    return(finding("workers", paste(name, "does not answer, and is not on this machine"), sprintf(
      "Say sy_worker(\"%s\", auto_managed = FALSE), and start it there (sy_start() then shows how).", address
    )))
  }
  finding(
    "workers", paste(name, "does not answer"),
    "Start it there (sy_start() shows how), and let the firewalls pass its port."
  )
}

# Something listens at the address of a worker, but is none that answers this session.
examine_listener <- function(name, auto_managed, report) {
  if (auto_managed) {
    return(finding(
      "workers", sprintf("%s: another program has this port, or a worker of another cluster or user", name),
      "Stop that one, or choose another port in sy_worker()."
    ))
  }
  if (is.null(report)) {
    return(finding(
      "workers", sprintf("%s: something listens there", name),
      "Only a session with the owner's certificates can ask who it is: see `credentials` of sy_cluster().", "note"
    ))
  }
  finding("workers", sprintf("%s: something listens there, and refuses this session", name), report$problem)
}

# Whether an address is on this machine, where sy_start() can start a worker.
is_local <- function(address) bundle("syfr.hosts")$is_local(bundle("syfr.directories")$split_address(address)[[1]])

# Whether anything accepts connections at an address.
listens <- function(address, timeout) {
  host <- gsub("^\\[|\\]$", "", sub(":[0-9]+$", "", address))
  port <- as.integer(sub("^.*:", "", address))
  connection <- tryCatch(
    suppressWarnings(socketConnection(host, port, open = "r+b", timeout = timeout)),
    error = function(e) NULL
  )
  if (is.null(connection)) return(FALSE)
  close(connection)
  TRUE
}

#' @export
format.syfr_doctor <- function(x, ...) {
  marks <- c(
    good = cli::col_green(cli::symbol$tick),
    note = cli::col_cyan(cli::symbol$info),
    bad = cli::col_red(cli::symbol$cross)
  )
  subjects <- unique(x$subject)
  lines <- lapply(subjects, function(subject) {
    rows <- x[x$subject == subject, ]
    remedy <- ifelse(is.na(rows$remedy), "", paste0("\n    ", cli::symbol$arrow_right, " ", rows$remedy))
    c(cli::style_bold(subject), paste0("  ", marks[rows$state], " ", rows$finding, remedy))
  })
  bad <- sum(x$state == "bad")
  ending <- if (bad == 0) "Nothing is wrong." else sprintf("%d %s to mend.", bad, if (bad == 1) "thing" else "things")
  c(unlist(strsplit(unlist(lines), "\n", fixed = TRUE)), ending)
}

#' @export
print.syfr_doctor <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
