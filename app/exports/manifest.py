"""The signed account of an export: what was asked, what each file holds, what was lost."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.exports.keys import PublicKey, public_of
from core.errors import FlowledgerError

SUFFIX = ".manifest.json"
LAYOUT = 1
_SIGNATURE = "signature"
_ALGORITHM = "Ed25519"


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest as it was found, and by whom it says it was signed."""

    path: Path
    content: Mapping[str, Any]
    signature: bytes
    key: PublicKey

    def is_signed_by(self, key: PublicKey) -> bool:
        """Say whether the owner of this key signed exactly this content."""
        return key.is_right(self.signature, canonical(self.content))


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return the octets that are signed: everything but the signature, in one way only."""
    rest = {name: value for name, value in content.items() if name != _SIGNATURE}
    return json.dumps(
        rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def sealed(content: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Return the file of a manifest: its content, signed."""
    # As it will be read: tuples and the like would be something else then.
    plain: dict[str, Any] = json.loads(canonical(content))
    public = PublicKey(key.public_key())
    signature = {
        "algorithm": _ALGORITHM,
        "key_id": public.id,
        "public_key": public.text,
        "value": base64.b64encode(key.sign(canonical(plain))).decode(),
    }
    return (json.dumps({**plain, _SIGNATURE: signature}, indent=2) + "\n").encode()


def read_manifest(path: Path) -> Signed:
    """Return a manifest; refuses what is none."""
    try:
        content = json.loads(path.read_bytes())
        signature = content[_SIGNATURE]
        key = public_of(signature["public_key"])
        value = base64.b64decode(signature["value"], validate=True)
        layout = int(content["layout"])
    except OSError as error:
        raise FlowledgerError(f"manifest {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FlowledgerError(
            f"{path} is no manifest of an export ({type(error).__name__}: {error}); "
            f"name the file that ends with {SUFFIX}"
        ) from error
    if layout > LAYOUT:
        raise FlowledgerError(f"{path} is of a newer Flowledger; verify it with that one")
    return Signed(path, content, value, key)


def find_manifests(place: Path) -> list[Path]:
    """Return the manifests that a path means: itself, those in it, or the one beside it."""
    if place.is_dir():
        found = sorted(place.glob(f"*{SUFFIX}"))
        if not found:
            raise FlowledgerError(
                f"{place} holds no manifest (*{SUFFIX}): the export was not finished, "
                "or it is no folder of one"
            )
        return found
    if not place.name.endswith(SUFFIX):
        beside = place.with_name(place.name + SUFFIX)
        if beside.exists():
            return [beside]
        if place.suffix != ".json" and place.exists():
            raise FlowledgerError(
                f"{beside} is not there: the export was not finished, or its manifest was lost"
            )
    if not place.exists():
        raise FlowledgerError(f"{place} is not there; name a manifest, or the folder of one")
    return [place]
