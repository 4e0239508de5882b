"""`python -m console.connect.generate [FOLDER]`: the Python classes of `proto/`, into `gen/` or another folder.

Needs the development requirements: protoc comes with grpcio-tools, its plug-in is protoc-gen-py.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO, GENERATED = HERE / "proto", HERE / "gen"


def generate(target: Path) -> None:
    """Write the generated modules below `target`."""
    target.mkdir(parents=True, exist_ok=True)
    protoc(f"--plugin={Path(sys.executable).parent / 'protoc-gen-py'}", f"--py_out={target}")


def describe(file: Path) -> None:
    """Write the descriptors of everything in `proto/`, and of what it imports, for clients in other languages."""
    protoc("--include_imports", f"--descriptor_set_out={file}")


def protoc(*options: str) -> None:
    """Run protoc on all of `proto/`; RuntimeError when it refuses."""
    import grpc_tools  # not there in production
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *options, *sources]):
        raise RuntimeError("protoc refused the .proto files")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else GENERATED)
