# Credentials for workers on separate hosts: keys and certificates, made in one place and handed out.

#' Credentials for workers on separate hosts
#'
#' @description
#' A cluster on one machine makes its keys and certificates by itself. When the three workers run on hosts of
#' different people, one of them, usually the owner of the models, makes the credentials with
#' `sy_credentials_create()` and hands each party its own folder. Every connection is mutual TLS between
#' holders of certificates of this one cluster; what somebody may ask for follows from the certificate.
#'
#' `sy_credentials_add_client()` makes a folder for one more client, `sy_credentials_renew()` a new key and
#' certificate for a party that has one, `sy_credentials_revoke()` shuts a party out, and `sy_credentials()` lists
#' who has what until when.
#'
#' @section From the first step to the last:
#' 1. On one machine, make the credentials of the cluster:
#'
#'    ```r
#'    sy_credentials_create("credentials", c("alice.example:4000", "bob.example:4000", "carol.example:4000"), "ann")
#'    ```
#'
#'    The folder now holds `authority`, which makes certificates and stays where it is; `server0`, `server1`,
#'    `server2`, `owner` and `ann`, one folder for each party; and `cluster.json`, the addresses.
#' 2. Bring each worker's folder to its host, by a way that nobody else can read (`scp`, a memory stick), and delete
#'    it here: its key is the identity of that worker. Whoever runs the worker needs Python with the package
#'    `syfr-mpc`, no R and no Keras; `README.txt` in the folder says which command starts it.
#' 3. The owner of the models needs the folder `owner`, in some folder that is then given to [sy_cluster()]:
#'
#'    ```r
#'    workers <- lapply(
#'      c("alice.example:4000", "bob.example:4000", "carol.example:4000"),
#'      sy_worker, auto_managed = FALSE
#'    )
#'    cluster <- sy_cluster(workers[[1]], workers[[2]], workers[[3]], credentials = "credentials")
#'    sy_start(cluster)
#'    ```
#' 4. A client describes the same cluster, and gives its own folder to [sy_client()]:
#'    `sy_client(credentials = "ann")`.
#' 5. One more client: `sy_credentials_add_client("credentials", "ben")`; hand out the folder `ben`.
#' 6. Before a certificate ends, see `sy_credentials()`: `sy_credentials_renew("credentials", "server1")`, and put the
#'    new folder in the place of the old one. A worker need not be restarted; the old certificate is good until it
#'    ends. If somebody may have seen the key, say `revoke_old = TRUE`.
#' 7. A client that must not ask any more, or a lost key: `sy_credentials_revoke("credentials", "ann")`. Then copy
#'    `revoked.json` into the folder of each worker, which heeds it at the next connection. Connections that are open
#'    stay so until they end.
#'
#' @section Who may run which worker:
#' The three workers must be run by people who will not put their data together: two workers together can read
#' everything. The owner may run one of them and a client another, if a third party deals:
#'
#' ```
#'   owner's host          client's host         a third party's host
#'   +-----------+         +-----------+         +------------------+
#'   |  server0  | <-----> |  server1  | <-----> |  server2, dealer |
#'   |  owner    |         |  client   |         |                  |
#'   +-----------+         +-----------+         +------------------+
#'         ^                                               ^
#'         +-----------------------------------------------+
#' ```
#'
#' The owner together with server0 then learns nothing about the inputs: what server0 sees of them is masked by numbers
#' that only the client, server1 and the dealer know. The client together with server1 learns its own answers, as any
#' client does, and how they were rounded, nothing else of the weights. The dealer sees no inputs, no weights and no
#' answers. What all workers see is the architecture of the model, who asks, when, and how many rows. All this holds
#' as long as each of them follows the protocol.
#'
#' @section Shares at rest:
#' A worker that was started by hand keeps its shares of the models in `state`, in the folder
#' `tools::R_user_dir("syfr", "data")` of its user (or where `--state-dir` says), and uses them again after a restart,
#' without the owner. They are encrypted under a key in the same folder, which only that user can read: this protects
#' copies of the files without the key, not against the administrator of the host, who can read the key, and the memory
#' of the worker too. What is read there is the share of one worker, which by itself tells nothing. Whoever can
#' write there can bring back an older count of requests at this worker; the other two count for themselves.
#' [sy_stop()] of a model deletes its shares. Workers that are `auto_managed` keep nothing.
#'
#' @param dir The folder of the cluster's credentials. For `sy_credentials_create()` a new one; for `sy_credentials()`
#'   also a folder that was handed out.
#' @param hosts The addresses of the three workers, in the order of their parts or named by them (`server0`, `server1`,
#'   `server2`). A port that is missing is 4000, 4001, 4002.
#' @param clients Names of clients.
#' @param days How many days the certificates last.
#' @param name The name of a client, or for renewing and revoking also `"server0"`, `"server1"`, `"server2"`, `"owner"`.
#' @param revoke_old Whether to revoke the party's earlier certificates.
#' @return A data frame with a row for each party: `name`, `role`, `state` (`"good"`, `"expired"` or `"revoked"`),
#'   `expires` (a time) and `folder` (`NA` when it is no longer there). Functions that change one party return its row;
#'   all but `sy_credentials()` return it invisibly.
#' @seealso [sy_cluster()], [sy_client()]
#' @examplesIf syfr:::can_run()
#' dir <- tempfile()
#' sy_credentials_create(dir, c("alice.example", "bob.example", "carol.example"), clients = "ann")
#' sy_credentials_add_client(dir, "ben", days = 30)
#' sy_credentials_revoke(dir, "ann")
#' sy_credentials(dir)[c("name", "state")]
#' @export
sy_credentials_create <- function(dir, hosts, clients = character(), days = 365) {
  call <- sys.call()
  hosts <- if (is.null(names(hosts))) hosts else as.list(hosts)
  made <- as_parties(call_python(call, bundle("syfr.face.provision")$create, dir, hosts, as.list(clients), days))
  if (!quiet()) {
    cli::cli_alert_success("Made the credentials of a cluster in {.path {dir}}")
    cli::cli_alert_info("Bring each party the folder with its name, and no other. Keep {.path authority} here.")
  }
  invisible(made)
}

#' @rdname sy_credentials_create
#' @export
sy_credentials_add_client <- function(dir, name, days = 365) {
  call <- sys.call()
  row <- as_parties(list(call_python(call, bundle("syfr.face.provision")$add_client, dir, name, days)))
  if (!quiet()) cli::cli_alert_success("Made the folder {.path {row$folder}}. Bring it to {name}.")
  invisible(row)
}

#' @rdname sy_credentials_create
#' @export
sy_credentials_renew <- function(dir, name, days = 365, revoke_old = FALSE) {
  call <- sys.call()
  revoke_old <- as_flag(revoke_old, "revoke_old", call)
  row <- as_parties(list(call_python(call, bundle("syfr.face.provision")$renew, dir, name, days, revoke_old)))
  if (!quiet()) {
    cli::cli_alert_success("Made the folder {.path {row$folder}}. Bring it to {name}, in the place of the old one.")
    if (revoke_old) say_revoked(dir)
  }
  invisible(row)
}

#' @rdname sy_credentials_create
#' @export
sy_credentials_revoke <- function(dir, name) {
  call <- sys.call()
  row <- as_parties(list(call_python(call, bundle("syfr.face.provision")$revoke, dir, name)))
  if (!quiet()) say_revoked(dir)
  invisible(row)
}

#' @rdname sy_credentials_create
#' @export
sy_credentials <- function(dir) {
  call <- sys.call()
  as_parties(call_python(call, bundle("syfr.face.provision")$listing, dir))
}

say_revoked <- function(dir) {
  cli::cli_alert_info("Copy {.path {file.path(dir, 'revoked.json')}} into the folder of each worker, wherever it is.")
}

# The rows that Python gives, as a data frame.
as_parties <- function(rows) {
  text <- function(field) vapply(rows, function(row) if (is.null(row[[field]])) NA_character_ else row[[field]], "")
  expires <- vapply(rows, function(row) row$expires, 0)
  data.frame(
    name = text("name"), role = text("role"), state = text("state"),
    expires = as.POSIXct(expires, origin = "1970-01-01"), folder = text("folder")
  )
}
