"""The installation's key, by which it signs what it hands out."""

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from core.errors import FlowledgerError

FOLDER = "keys"
PRIVATE = "signing.key"
PUBLIC = "signing.pub"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What checks a signature."""

    key: Ed25519PublicKey

    @property
    def raw(self) -> bytes:
        """Its 32 octets."""
        return self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @property
    def text(self) -> str:
        """Its octets in base64, as manifests have them."""
        return base64.b64encode(self.raw).decode()

    @property
    def id(self) -> str:
        """A short name for people to compare."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def is_right(self, signature: bytes, octets: bytes) -> bool:
        """Say whether the owner of the key signed these octets."""
        try:
            self.key.verify(signature, octets)
        except InvalidSignature:
            return False
        return True


def public_of(text: str) -> PublicKey:
    """Return the key of a manifest; raises ValueError when it is none."""
    return PublicKey(Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True)))


def read_public(path: Path) -> PublicKey:
    """Return the key of a file."""
    try:
        content = path.read_bytes()
        key = serialization.load_pem_public_key(content)
    except OSError as error:
        raise FlowledgerError(f"key {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FlowledgerError(
            f"key {path} is no public key; name the file keys/{PUBLIC} of the data folder"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise FlowledgerError(f"key {path} is of another kind; Ed25519 is needed")
    return PublicKey(key)


def signing_key(data: Path) -> Ed25519PrivateKey:
    """Return the key of a data folder, made when it is first needed."""
    folder = data / FOLDER
    path = folder / PRIVATE
    try:
        if not path.exists():
            _make(folder)
        if path.stat().st_mode & 0o077:
            raise FlowledgerError(
                f"key {path} can be read by others; chmod 600 it, or remove it to have a new one"
            )
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise FlowledgerError(
            f"key {path}: {error.strerror}; export as the user that runs `flowledger serve`"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FlowledgerError(
            f"key {path} cannot be read; restore it, or remove it to have a new one made"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FlowledgerError(f"key {path} is of another kind; Ed25519 is needed")
    _put_public(folder / PUBLIC, key)
    return key


def _make(folder: Path) -> None:
    """Make a key; of two processes at once, one wins and both use its key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    part = folder / f".{PRIVATE}.{os.getpid()}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, does not replace the key that somebody else just made.
        (folder / PRIVATE).hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)


def _put_public(path: Path, key: Ed25519PrivateKey) -> None:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if path.exists() and path.read_bytes() == pem:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(pem)
    part.chmod(0o644)
    part.replace(path)
