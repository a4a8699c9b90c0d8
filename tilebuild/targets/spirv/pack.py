"""`python -m tilebuild.targets.spirv.pack LIBRARY MODULE...`: a package's modules in one file.

The library is a zip archive of uncompressed members: `<entry>.spv`, and `index.json`, which says for each entry which
bindings it writes. Members are in name order and have one fixed time: the same modules give the same bytes, any zip
tool lists and extracts them for spirv-dis, each has a checksum, and the runtime reads it with the standard library. Not
compressed: the wheel around it is, and the modules are small.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from tilebuild.targets.spirv.check.facts import Facts
from tilebuild.targets.spirv.module import decode

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows


def pack(library: Path, modules: list[Path]) -> None:
    """Write the library; raises OSError, and `ModuleError` for a file that is no module."""
    codes = {module.stem: module.read_bytes() for module in modules}
    index = {name: {"writes": written(code)} for name, code in sorted(codes.items())}
    members = {f"{name}.spv": code for name, code in codes.items()}
    members["index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    with zipfile.ZipFile(library, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(members.items()):
            member = zipfile.ZipInfo(name, _TIME)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, data)


def written(code: bytes) -> list[int]:
    """The bindings whose buffers a module may write: those not declared NonWritable."""
    facts = Facts(decode(code))
    buffers = [i.result for _, i in facts.globals("StorageBuffer")]
    writable = [v for v in buffers if (facts.pointee(v).result, 0, "NonWritable") not in facts.member_decorations]
    return sorted(int(b) for v in writable for b in facts.decoration(v, "Binding"))


if __name__ == "__main__":
    pack(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
