# The models that workers hold, whoever shared them.

#' The models on a cluster
#'
#' `sy_models()` lists the models that the workers of a cluster hold shares of, also those that an earlier session of
#' the owner has shared. `sy_drop()` deletes the shares of one of them at the workers, on their disks too; its clients
#' are told. Only the owner of the cluster may ask for either.
#'
#' @param cluster A cluster made by [sy_cluster()].
#' @param model The number of a model, or its name if no other model there has it.
#' @return `sy_models()` a data frame with a row for each model: `model` (its number), `name`, `serving` (whether all
#'   three workers are ready to answer), `served` requests `of` how many (`NA` for no limit), and how many `workers`
#'   hold a share. `sy_drop()` the number of the model, invisibly.
#' @seealso [sy_stop()] for a model of this session.
#' @examplesIf syfr:::can_run()
#' with_sy_cluster({
#'   sy_share(system.file("extdata", "mnist-conv.h5", package = "syfr"), cluster, name = "digits")
#'   print(sy_models(cluster)[c("name", "serving", "workers")])
#'   sy_drop(cluster, "digits")
#' })
#' @export
sy_models <- function(cluster) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  task <- call_python(call, bundle("syfr.face.models")$listing, python_cluster(cluster, call))
  found <- wait_for(task, call)
  limit <- function(model) if (is.null(model$requests)) NA_real_ else as.numeric(model$requests)
  data.frame(
    model = vapply(found, `[[`, "", "model"), name = vapply(found, `[[`, "", "name"),
    serving = vapply(found, `[[`, NA, "serving"),
    served = vapply(found, function(model) as.numeric(model$served), 1), of = vapply(found, limit, 1),
    workers = vapply(found, function(model) length(model$workers), 1L)
  )
}

#' @rdname sy_models
#' @export
sy_drop <- function(cluster, model) {
  call <- sys.call()
  cluster <- as_cluster(cluster, call)
  task <- call_python(call, bundle("syfr.face.models")$dropping, python_cluster(cluster, call), model)
  invisible(wait_for(task, call)$model)
}
