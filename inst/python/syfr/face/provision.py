"""Credentials for workers on separate hosts: made in one place, and handed out, to each party its own folder.

Who makes them keeps the authority, and so can add clients, renew and revoke. Everything comes back as plain
dictionaries and lists, for R as for Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from syfr.directories import replace_private
from syfr.errors import CredentialsError, InputTypeError
from syfr.face.arguments import count_argument, flag_argument, path_argument, text_argument
from syfr.face.managed import player_command
from syfr.face.starting import CONFIG
from syfr.hosts import complete_addresses
from syfr.trust import credentials
from syfr.trust.identity import SERVERS, Bundle, Identity, now, read_revoked

NOTE = "README.txt"
WORKER_NOTE = """\
This folder is {name} of a cluster of three workers that compute predictions together.
Its files are its identity: keep them to this host, readable by one user, and send them to nobody.

Start the worker in this folder, where the Python package syfr-mpc is installed:

    {command}
"""
USER_NOTE = """\
This folder is the {name} of a cluster of three workers that compute predictions together.
Its files are your identity: keep them readable by you alone, and send them to nobody.
The addresses of the workers are in {config}.
"""

Row = dict[str, Any]


def create(directory: object, hosts: object, clients: object = (), days: object = 365) -> list[Row]:
    """Make the credentials of a new cluster: an authority, and a folder for each worker, the owner and each client.

    Args:
        directory: a new one; of it, each party receives only the folder with its name.
        hosts: the addresses of server0, server1 and server2, by role or in this order; a port that is missing is
            4000, 4001, 4002.
        clients: names of clients; more can be added.
        days: how long the certificates last.

    Raises:
        CredentialsError: there are credentials already, or the directory cannot be written.
    """
    place, addresses, names = _place(directory), _addresses(hosts), _names(clients)
    lasting = count_argument(days, "days")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise CredentialsError(
            f"{place} is not empty. Choose a new directory; to one with credentials, clients can be added."
        )
    credentials.create_credentials(place, addresses, names, lasting)
    replace_private(place / CONFIG, json.dumps(addresses, indent=1).encode())
    for name in (*SERVERS, "owner", *names):
        _complete(place, name)
    return listing(place)


def add_client(directory: object, name: object, days: object = 365) -> Row:
    """Make a folder for one more client, or anew for one whose certificate was revoked or has ended."""
    place, client = _place(directory), text_argument(name, "name")
    credentials.add_client(place, client, count_argument(days, "days"))
    _complete(place, client)
    return _row_of(place, client)


def renew(directory: object, name: object, days: object = 365, revoke_old: object = False) -> Row:
    """Make a party a new key and certificate; the old ones stay good until they end, unless they are revoked."""
    place, party = _place(directory), text_argument(name, "name")
    credentials.renew(place, party, count_argument(days, "days"), flag_argument(revoke_old, "revoke_old"))
    _complete(place, party)
    return _row_of(place, party)


def revoke(directory: object, name: object) -> Row:
    """Revoke all certificates of a party. Workers elsewhere heed it once they have the new ``revoked.json``."""
    place, party = _place(directory), text_argument(name, "name")
    credentials.revoke(place, party)
    return _row_of(place, party)


def listing(directory: object) -> list[Row]:
    """Whose certificates there are, and how good: a row for each party, or one for a party's own folder.

    Each has "name", "role", "state" ("good", "expired" or "revoked"), "expires" (seconds since 1970) and "folder",
    which is None when it is no longer there.
    """
    place = _place(directory)
    if (place / "authority").is_dir():
        return [_row_of(place, name) for name in credentials.issued_certificates(place)]
    folders = [place] if (place / "certificate.pem").is_file() else [*place.glob("*/certificate.pem")]
    if not folders:
        raise CredentialsError(f"There are no credentials in {place}. Name the directory in which they were made.")
    bundles = [Bundle.read(folder if folder == place else folder.parent) for folder in sorted(folders)]
    return [
        _row(bundle.identity, bundle.not_after, bundle.is_revoked(bundle.serial), bundle.directory)
        for bundle in bundles
    ]


def examine(directory: object) -> list[Row]:
    """What is wrong with the credentials here: a row for each folder, with "name", "days_left" and "problem".

    The problem is None when the folder can be used: key and certificate belong together, nobody else may read the key,
    and the certificate has neither ended nor been revoked. The days are None when the certificate cannot be read.
    """
    place = _place(directory)
    folders = [place] if (place / "certificate.pem").is_file() else sorted(place.glob("*/"))
    return [_examined(folder) for folder in folders if folder.name not in ("authority", "run")]


def _examined(folder: Path) -> Row:
    days_left = None
    try:
        days_left = (Bundle.read(folder).not_after - now()).total_seconds() / 86_400
        Bundle.load(folder)
    except CredentialsError as error:
        return {"name": folder.name, "days_left": days_left, "problem": str(error)}
    return {"name": folder.name, "days_left": days_left, "problem": None}


def _row_of(place: Path, name: str) -> Row:
    """The row of the certificate that a party was given last."""
    serial, ends = list(credentials.issued_certificates(place)[name].items())[-1]
    folder = place / name
    identity = Identity(name if name in (*SERVERS, "owner") else "client", name)
    return _row(identity, ends, serial in read_revoked(place), folder if folder.is_dir() else None)


def _row(identity: Identity, ends: datetime, revoked: bool, folder: Path | None) -> Row:
    return {
        "name": identity.name,
        "role": identity.role,
        "state": "revoked" if revoked else "expired" if ends <= now() else "good",
        "expires": ends.timestamp(),
        "folder": None if folder is None else str(folder),
    }


def _complete(place: Path, name: str) -> None:
    """Put beside a party's certificate what it needs to find the cluster."""
    folder = place / name
    if not (place / CONFIG).is_file():
        return  # credentials of a cluster on this machine, made by starting it
    replace_private(folder / CONFIG, (place / CONFIG).read_bytes())
    if name in SERVERS:
        command = " ".join(player_command(name, Path(CONFIG), "--credentials", "."))
        note = WORKER_NOTE.format(name=name, command=command)
    else:
        note = USER_NOTE.format(name="owner" if name == "owner" else f"client {name}", config=CONFIG)
    replace_private(folder / NOTE, note.encode())


def _place(directory: object) -> Path:
    return path_argument(directory, "dir").resolve()


def _addresses(hosts: object) -> dict[str, str]:
    remedy = "Give the addresses of server0, server1 and server2."
    if isinstance(hosts, Mapping):
        if set(hosts) != set(SERVERS):
            raise InputTypeError(f"hosts has {', '.join(map(str, hosts)) or 'nobody'}. {remedy}")
        hosts = [hosts[role] for role in SERVERS]
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise InputTypeError(f"hosts is one address or none. {remedy}")
    given = [text_argument(host, "hosts") for host in hosts]
    if len(given) != len(SERVERS):
        raise InputTypeError(f"hosts has {len(given)} address(es). {remedy}")
    return {role: str(address) for role, address in complete_addresses(SERVERS, given).items()}


def _names(clients: object) -> list[str]:
    if isinstance(clients, str):
        return [clients]
    if not isinstance(clients, Iterable):
        raise InputTypeError("clients must be names. Give a text for each client.")
    return [text_argument(name, "clients") for name in clients]
