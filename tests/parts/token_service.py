"""A registry's token service: who logs in gets a signed token (distribution.github.io, "Token Authentication Implementation")."""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "tests", "registry of the tests"


class TokenService:
    """Serves ``/token`` on a free loopback port; ``users``: who may log in, with which password; ``lives``: a token's seconds."""

    def __init__(self, folder: Path, users: dict[str, str], *, lives: int = 60) -> None:
        self.users, self.lives = users, lives
        self.asked: list[tuple[str, str]] = []  # user, scope
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _certificate(self._key)
        self.bundle = folder / "token-service.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                scheme, _, given = self.headers.get("Authorization", "").partition(" ")
                user, _, password = (
                    base64.b64decode(given).decode().partition(":") if scheme == "Basic" else ("", "", "")
                )
                service.asked.append((user, query["scope"][0]))
                right = service.users.get(user) == password
                body = {"token": service.token(query["scope"][0]), "expires_in": service.lives} if right else {}
                content = json.dumps(body).encode()
                self.send_response(200 if right else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def auth(self) -> dict[str, Any]:
        """The `auth` section of a registry that trusts this service."""
        realm = f"http://{self.host}/token"
        return {
            "token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)},
        }

    def token(self, scope: str) -> str:
        """A token for ``repository:NAME:ACTIONS``, signed with the key whose certificate it carries."""
        kind, name, actions = scope.split(":")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._der()).decode()]}
        claims = {
            "iss": ISSUER, "sub": "", "aud": SERVICE, "nbf": now - 60, "iat": now - 60, "exp": now + self.lives, "jti": str(now),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }  # fmt: skip
        signed = f"{_encoded(header)}.{_encoded(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def _der(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.DER)

    def __enter__(self) -> TokenService:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)]), datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
