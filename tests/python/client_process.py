"""A client in a process of its own, in the words of published scripts; it waits until the model is served."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import syfr as sy

CLIENT = """
    import sys, time
    import numpy as np
    import syfr as sy

    alice, bob, carol = (sy.TFEWorker(host=f"localhost:{port}", auto_managed=True) for port in sys.argv[1:4])
    client = sy.TFEWorker()
    end = time.monotonic() + 60
    while True:
        try:
            client.connect_to_model((1, 8, 8, 1), (1, 4), alice, bob, carol)
            first = client.query_model(np.full((8, 8), 0.5))
            break
        except sy.SyfrError as error:
            assert error.code == "not_served" and time.monotonic() < end, error
            time.sleep(0.05)
    client.query_model_async(np.full((1, 8, 8, 1), 0.5))
    client.query_model_async(np.full((1, 8, 8, 1), 0.5))
    for answer in (first, client.query_model_join(), client.query_model_join(timeout=30)):
        print(*answer[0])
    client.disconnect()
"""


def in_another_process(home: Path, cluster: sy.TFECluster) -> subprocess.Popen[str]:
    """The client above, begun; it prints three answers to an even grey."""
    ports = [address.rpartition(":")[2] for address in cluster.addresses.values()]
    path = os.pathsep.join([str(Path(sy.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CLIENT), *ports],
        env={**os.environ, "PYTHONPATH": path, "R_USER_DATA_DIR": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
