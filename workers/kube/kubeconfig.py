"""What a kubeconfig or a pod's service account says, read by kubernetes_asyncio in a short-lived child process.

The library knows all of it (contexts, exec plugins, OIDC, temporary certificates), but importing it costs 38 MiB and
0.3 s for good. The child pays that, prints one JSON document on its standard output, and is gone; with it go the
temporary files in which the library keeps keys. Run by path (``python -P kubeconfig.py KUBECONFIG CONTEXT``), it
imports nothing of Windlass. It is run again to refresh a token that an exec plugin or an OIDC provider gave.
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

    ``token_file`` is the file that the token came from; ``expires`` (epoch seconds) and ``renewable`` tell of one that
    a program or a provider gave.
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
        "renewable": bool(user and ("exec" in user or "auth-provider" in user)),
        "expires": calendar.timegm(expiry.utctimetuple()) if expiry else None,
    }


def read_in_cluster() -> dict[str, Any]:
    """The connection of the pod's own service account."""
    from kubernetes_asyncio import client, config
    from kubernetes_asyncio.config.incluster_config import SERVICE_TOKEN_FILENAME

    configuration = client.Configuration()
    load: Any = config.load_incluster_config
    load(client_configuration=configuration)
    return {**_described(configuration), "token_file": SERVICE_TOKEN_FILENAME, "renewable": False, "expires": None}


def _user(loader: Any) -> dict[str, Any]:
    value = getattr(loader, "_user", None)
    plain: dict[str, Any] = value.value if value is not None else {}
    return plain


def _token_file(user: dict[str, Any], path: str) -> str | None:
    name = user.get("tokenFile")
    return str(Path(path).expanduser().absolute().parent / name) if name else None


def _check_there(path: str) -> None:
    """The library takes a missing file for an empty one."""
    if not any(Path(one).expanduser().is_file() for one in path.split(os.pathsep)):
        raise FileNotFoundError("no such file")


def main(arguments: list[str]) -> int:
    """Print what was read; on failure the reason, on standard error, and 1."""
    logging.disable(logging.CRITICAL)  # the library logs what it also raises
    try:
        if arguments:
            _check_there(arguments[0])
            found = asyncio.run(read_kubeconfig(arguments[0], arguments[1] if len(arguments) > 1 else None))
        else:
            found = read_in_cluster()
    except Exception as error:  # noqa: BLE001 - whatever it is, its text is the answer
        print(f"{type(error).__name__}: {error}"[:2000], file=sys.stderr)
        return 1
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
