"""What a kubeconfig or a pod's service account says, read by kubernetes_asyncio in a short-lived child process.

The library knows all of it (contexts, exec plugins, OIDC, temporary certificates), but importing it costs 38 MiB and
0.3 s for good. The child pays that, prints one JSON document on its standard output, and is gone; with it go the
temporary files in which the library keeps keys. Run by path (``python -P kubeconfig.py KUBECONFIG CONTEXT``, or
``--in-cluster FOLDER``), it imports nothing of Windlass. Its environment is the plugin's too: `workers.kube.connect`
chooses it. It is run again to refresh a token that an exec plugin or an OIDC provider gave.
"""

from __future__ import annotations

import asyncio
import calendar
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any


def _text(path: str | None) -> str | None:
    return Path(path).read_text() if path else None


def _described(configuration: Any) -> dict[str, Any]:
    return {
        "server": configuration.host,
        "ca": _text(configuration.ssl_ca_cert),
        "certificate": _text(configuration.cert_file),
        "key": _text(configuration.key_file),
        "verify": bool(configuration.verify_ssl),
        "server_name": configuration.tls_server_name,
        "proxy": configuration.proxy,
        "authorization": configuration.api_key.get("BearerToken"),
    }


async def read_kubeconfig(path: str, context: str | None) -> dict[str, Any]:
    """The connection of ``context`` (None: the current one), and how long its token holds.

    ``token_file`` is the file that the token came from; any other is renewed by reading all of this again: it is in the
    kubeconfig, or a program or provider gave it, maybe with the time (epoch seconds) when it ``expires``.
    """
    from kubernetes_asyncio import client, config

    configuration = client.Configuration()
    loader = await config.load_kube_config(
        config_file=path,
        context=context or None,
        client_configuration=configuration,
        persist_config=os.access(path, os.W_OK),  # a refreshed OIDC token; a mounted Secret can't be written
    )
    user = loader.current_context and _user(loader)
    described = _described(configuration)
    expiry = getattr(loader, "exec_plugin_expiry", None)
    return {
        **described,
        "token_file": _token_file(user, path) if user and not user.get("token") else None,
        "expires": calendar.timegm(expiry.utctimetuple()) if expiry else None,
    }


def read_in_cluster(folder: Path) -> dict[str, Any]:
    """The connection of the pod's own service account, whose token and authority are in ``folder``."""
    from kubernetes_asyncio import client
    from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

    configuration, token = client.Configuration(), folder / "token"
    loader: Any = InClusterConfigLoader(token_filename=str(token), cert_filename=str(folder / "ca.crt"))
    loader.load_and_set(configuration)
    return {**_described(configuration), "token_file": str(token), "expires": None}


def _user(loader: Any) -> dict[str, Any]:
    value = getattr(loader, "_user", None)
    plain: dict[str, Any] = value.value if value is not None else {}
    return plain


def _token_file(user: dict[str, Any], path: str) -> str | None:
    name = user.get("tokenFile")
    return str(Path(path).expanduser().absolute().parent / name) if name else None


def _enter(path: str) -> str:
    """``path`` as an absolute one, from its own folder: that is where a plugin named by a relative path is.

    :raises FileNotFoundError: the library takes a missing file for an empty one.
    """
    files = [Path(one).expanduser().absolute() for one in path.split(os.pathsep)]
    there = [file for file in files if file.is_file()]
    if not there:
        raise FileNotFoundError("no such file")
    os.chdir(there[0].parent)
    return os.pathsep.join(map(str, files))


def main(arguments: list[str]) -> int:
    """Print what was read; on failure the reason, on standard error, and 1."""
    logging.disable(logging.CRITICAL)  # the library logs what it also raises
    try:
        if arguments[0] == "--in-cluster":
            found = read_in_cluster(Path(arguments[1]))
        else:
            found = asyncio.run(read_kubeconfig(_enter(arguments[0]), arguments[1] or None))
    except Exception as error:  # noqa: BLE001 - whatever it is, its text is the answer
        print(f"{type(error).__name__}: {error}"[:2000], file=sys.stderr)
        return 1
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
