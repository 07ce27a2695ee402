"""TFEWorker: one worker of a cluster, described; and, under the same name, a client of one."""

from __future__ import annotations

from pathlib import Path

from syfr.directories import split_address
from syfr.errors import InputTypeError, NotConnectedError
from syfr.face.arguments import flag_argument, seconds_argument, text_argument
from syfr.face.client import Client
from syfr.face.cluster import TFECluster, cluster_argument
from syfr.face.results import Results
from syfr.face.tasks import Task


class TFEWorker:
    """A worker: where it is, and who starts it. Without a host also the name of a client.

    Making one starts nothing and connects to nothing.

    Args:
        host: "localhost:4000"; a host without a port gets 4000, 4001 or 4002 by its place in the cluster, and no host
            a free port of this machine.
        auto_managed: whether starting the cluster starts this worker, on this machine, as a process that ends with the
            session; otherwise it is started by hand with the command that is then shown.
    """

    def __init__(self, host: str | None = None, auto_managed: bool = True) -> None:
        self.host = None if host is None else text_argument(host, "host")
        self.auto_managed = flag_argument(auto_managed, "auto_managed")
        if self.host is not None:
            split_address(self.host)
        elif not self.auto_managed:
            raise InputTypeError("A worker that is started by hand needs an address. Give one like 'localhost:4000'.")
        self._client: Client | None = None
        self._queries: list[Task[Results]] = []

    def __repr__(self) -> str:
        return f"TFEWorker(host={self.host!r}, auto_managed={self.auto_managed})"

    def connect_to_model(
        self,
        in_shape: object,
        out_shape: object,
        *cluster: object,
        model: str | None = None,
        credentials: str | Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Connect, as a client, to the model with these shapes (batch axis first) on a cluster.

        Args:
            cluster: a TFECluster, or three TFEWorker.
            model: the model's name, when several there have the same shapes.
            credentials: directory of the client's credentials, when they are not this user's own.
        """
        client = Client(cluster_argument(cluster), credentials)
        client.connecting(in_shape, out_shape, model, timeout).wait()
        self.disconnect()
        self._client = client

    @property
    def client(self) -> Client:
        """The connected client, which knows more of the model and of its last query."""
        if self._client is None:
            raise NotConnectedError("This client is not connected. Connect it with connect_to_model() first.")
        return self._client

    def query_model(self, x: object, timeout: float = 60.0) -> Results:
        """The model's predictions for a batch, as its own predict() gives them; only this client can read them."""
        return self.client.querying(x, timeout).wait()

    def query_model_async(self, x: object, timeout: float = 60.0) -> None:
        """Send a batch and return; collect the answer with :meth:`query_model_join`."""
        query = self.client.querying(x, timeout)
        query.step(0)
        self._queries.append(query)

    def query_model_join(self, timeout: float = 60.0) -> Results:
        """Wait for the answer to the oldest batch that was sent and not yet collected."""
        if not self._queries:
            raise NotConnectedError("No query is under way. Send one with query_model_async() first.")
        query = self._queries[0]
        try:
            return query.wait(seconds_argument(timeout))
        finally:
            if query.done:
                self._queries.remove(query)

    def disconnect(self) -> None:
        """Close the connections to the model's workers."""
        queries, self._queries = self._queries, []
        for query in queries:
            query.cancel()
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()


def local_cluster() -> TFECluster:
    """A cluster of three workers on free ports of this machine, for examples and tests; it needs nothing else."""
    return TFECluster(TFEWorker(), TFEWorker(), TFEWorker())
