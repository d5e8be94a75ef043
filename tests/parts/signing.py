"""People who sign: real keys of GnuPG, OpenSSH and gpgsm, and work trees that sign with them."""

from __future__ import annotations

import datetime
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from tests.parts.git import WorkTree

FORMATS = {"gpg": ("openpgp", "gpg.program"), "ssh": ("ssh", "gpg.ssh.program"), "x509": ("x509", "gpg.x509.program")}


class Signer:
    """Somebody with a key. ``public``: the key (for x509 the authority's certificate) as a policy names it."""

    def __init__(self, kind: str, key: str, public: str, program: str) -> None:
        self.kind, self.key, self.public, self.program = kind, key, public, program

    def use(self, tree: WorkTree) -> WorkTree:
        """Everything that ``tree`` commits from now on is signed by this signer."""
        form, program = FORMATS[self.kind]
        for name, value in {
            "gpg.format": form,
            program: self.program,
            "user.signingKey": self.key,
            "commit.gpgSign": "true",
        }.items():
            tree.git("config", name, value)
        return tree

    def document(self) -> dict[str, str]:
        """An item of ``signedCommits.keys``."""
        return {"kind": self.kind, "key": self.public}


class Signers:
    """Makes signers. Homes are short paths: an agent's socket is in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def gpg(self, name: str, *, key_type: str = "ed25519", then: str = "", digest: str = "") -> Signer:
        """``then``: make the key, and sign, at this time (ISO 8601, basic) with a key of a day; ``digest``: sign with it."""
        home = self._home(name)
        clock = f"--faked-system-time {then}!" if then else ""
        weak = f"--digest-algo {digest} --personal-digest-preferences {digest}" if digest else ""
        program = self._script(home / "sign", f'exec gpg --homedir {home} {clock} {weak} --batch --no-tty "$@"')
        address = f"{name}@shop.example"
        run(
            program, "--pinentry-mode", "loopback", "--passphrase", "",
            "--quick-gen-key", address, key_type, "sign", "1d" if then else "never",
        )  # fmt: skip
        return Signer("gpg", address, run(program, "--armor", "--export", address), program)

    def ssh(self, name: str) -> Signer:
        home = self._home(name)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@shop.example", "-f", str(home / "id"))
        return Signer("ssh", str(home / "id"), (home / "id.pub").read_text(), "ssh-keygen")

    def x509(self, name: str, *, days: int = 30) -> Signer:
        """A certificate by an authority of its own."""
        home, address = self._home(name), f"{name}@shop.example"
        authority, issuer = certificate(f"{name}'s authority", days=days)
        own, key = certificate(address, days=days, issuer=(authority, issuer))
        pem = authority.public_bytes(serialization.Encoding.PEM).decode()
        # the form that gpgsm 2.2 reads
        old = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
        old = old.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
        (home / "own.p12").write_bytes(
            pkcs12.serialize_key_and_certificates(b"own", key, own, [authority], old.build(b"p"))
        )
        (home / "gpgsm.conf").write_text("disable-crl-checks\ndisable-dirmngr\n")
        (home / "trustlist.txt").write_text(f"{authority.fingerprint(hashes.SHA1()).hex().upper()} S relax\n")
        (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        program = self._script(
            home / "sign",
            f'exec gpgsm --homedir {home} --batch --no-tty --pinentry-mode loopback --passphrase-fd 3 "$@" 3<{home}/p',
        )
        (home / "p").write_text("p")
        run(program, "--import", str(home / "own.p12"))
        return Signer("x509", address, pem, program)

    def close(self) -> None:
        """No agent is left."""
        for home in self._folder.iterdir():
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir(mode=0o700)
        return home

    def _script(self, path: Path, line: str) -> str:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o700)
        return str(path)


@contextmanager
def signers() -> Iterator[Signers]:
    """Signers for a while."""
    with tempfile.TemporaryDirectory(prefix="keys-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Signers(Path(folder))
        try:
            yield made
        finally:
            made.close()


def certificate(
    name: str, *, days: int, issuer: tuple[x509.Certificate, rsa.RSAPrivateKey] | None = None
) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate, by itself (an authority) or by ``issuer`` (for signatures by e-mail address)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=issuer is not None, key_cert_sign=issuer is None, crl_sign=issuer is None,
                content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(name)]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def run(*command: str) -> str:
    """A program's output.

    :raises RuntimeError: with what it said.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {process.stderr[-1000:]}")
    return process.stdout
