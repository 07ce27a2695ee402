# sy_draw(): a small web page on which a digit is drawn, predicted privately, and shown as the workers see it.

#' Draw a digit and have it predicted privately
#'
#' Opens a page in the browser. A digit that is drawn there goes to the workers, masked, and comes back as
#' probabilities; beside them stands what each of the three workers holds of the drawing: noise. The page and this R
#' session are the client; the workers are those of a running cluster.
#'
#' The call ends, and the session goes on, when the page is closed, or with Esc or Ctrl-C.
#'
#' @param client A client that is connected by [client_connect_to_model()] to a model of images of 28 x 28 pixels from 0
#'   to 1, dark on light. `NULL` starts three workers on this machine, shares the model that comes with syfr, and stops
#'   the workers at the end; this needs Keras.
#' @param classes Labels of the model's outputs, in their order; `NULL` for the digits from 0 on.
#' @param port The port of the page on this machine; `NULL` for any that is free.
#' @param launch_browser Whether to open the browser; otherwise the address of the page is printed.
#' @return The client, invisibly.
#' @section Errors:
#' Without the package shiny an error of class `syfr_error_package`; for a model of other inputs or another number of
#' `classes` one of class `syfr_error_shape`. What goes wrong with a question is shown on the page, which stays open.
#' @seealso [client_query_model()], [client_last_query()]
#' @examples
#' \dontrun{
#' sy_draw()
#'
#' # With a client of one's own
#' client <- sy_client() |>
#'   client_connect_to_model(c(1, 28, 28, 1), c(1, 10), cluster)
#' sy_draw(client)
#' }
#' @export
sy_draw <- function(client = NULL, classes = NULL, port = NULL, launch_browser = interactive()) {
  call <- sys.call()
  launch_browser <- as_flag(launch_browser, "launch_browser", call)
  if (!is.null(port) && !(is_count(port) && port >= 1 && port <= 65535)) {
    stop_syfr("type", "`port` is not a port. Give a whole number from 1 to 65535, or NULL.", call)
  }
  need_package("shiny", "The page of sy_draw()", call)
  if (is.null(client)) {
    cluster <- local_sy_cluster()
    client <- client_of_own_cluster(cluster)
  }
  app <- draw_app(client, classes, call)
  suppressPackageStartupMessages(
    shiny::runApp(app, port = port, launch.browser = launch_browser, quiet = launch_browser)
  )
  invisible(client)
}

# A client of the bundled model on a cluster that runs.
client_of_own_cluster <- function(cluster) {
  model <- sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr", mustWork = TRUE), cluster)
  sy_serve(model, block = FALSE)
  client_connect_to_model(sy_client(), c(1, 28, 28, 1), c(1, 10), cluster)
}

draw_app <- function(client, classes, call) {
  classes <- as.character(check_drawable(client, classes, call))
  folder <- system.file("shiny", "draw", package = "syfr", mustWork = TRUE)
  shiny::addResourcePath("syfr-draw", folder)
  server <- function(input, output, session) {
    shiny::observeEvent(input$drawing, {
      shiny::req(length(input$drawing) == 28 * 28)
      tryCatch(
        session$sendCustomMessage("answer", answer_drawing(client, input$drawing, classes)),
        syfr_error = function(e) session$sendCustomMessage("problem", conditionMessage(e))
      )
    })
    session$onSessionEnded(shiny::stopApp)
  }
  shiny::shinyApp(shiny::htmlTemplate(file.path(folder, "index.html")), server)
}

# The labels of a client's model; an error when it is no model of such images.
check_drawable <- function(client, classes, call) {
  info <- connected(client, call)$model_info
  shape <- unlist(info$input_shape[-1])
  if (!identical(as.integer(shape), c(28L, 28L, 1L))) {
    stop_syfr("shape", call = call, sprintf(
      "The model takes inputs of %s, not images of 28 x 28 x 1. Connect to another.", paste(shape, collapse = " x ")
    ))
  }
  outputs <- unlist(info$output_shape[-1])
  if (is.null(classes)) classes <- seq_len(prod(outputs)) - 1
  if (length(outputs) != 1 || length(classes) != outputs) {
    stop_syfr("shape", call = call, sprintf(
      "`classes` has %d labels; the model has %s outputs. Give one label for each.",
      length(classes), paste(outputs, collapse = " x ")
    ))
  }
  classes
}

# What the page is told about a drawing: 28 x 28 shades from 0 to 255, by rows.
answer_drawing <- function(client, drawing, classes) {
  image <- array(matrix(as.numeric(unlist(drawing)) / 255, 28, 28, byrow = TRUE), c(1, 28, 28, 1))
  probabilities <- predict(client, image, type = "prob")
  query <- client_last_query(client)
  list(
    classes = as.list(classes),
    probabilities = as.list(round(c(probabilities), 4)),
    # By rows, as the page paints.
    views = lapply(query$held[roles], function(view) as.list(round(c(t(view[1, , , 1])), 2))),
    note = sprintf(
      "Answered in %.0f ms: %.1f kB to the workers, %d messages between them one after the other, %.1f kB back.",
      1000 * query$seconds, query$bytes_sent / 1000, as.integer(query$delays), query$bytes_received / 1000
    )
  )
}
