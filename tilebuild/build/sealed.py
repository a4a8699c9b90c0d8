"""JSON kept between builds: written whole, read back only with the right key and the bytes that were written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def write(path: Path, key: str, data: Any) -> None:
    """Written beside and moved into place, so that it is whole or not there. `key` holds no white space."""
    body = json.dumps(data).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(f"{key} {hashlib.sha256(body).hexdigest()}\n".encode() + body)
    temporary.replace(path)


def read(path: Path, key: str) -> Any | None:
    """The data; None where there is none, where it was written with another key, or where the file is damaged."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if head != f"{key} {hashlib.sha256(body).hexdigest()}".encode():
        return None
    return json.loads(body)
