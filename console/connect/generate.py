"""`python -m console.connect.generate [FOLDER]`: the Python classes of `proto/`, into `gen/` or another folder.

Needs the development requirements: protoc comes with grpcio-tools, its plug-in is protoc-gen-py.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO, GENERATED = HERE / "proto", HERE / "gen"


def generate(target: Path) -> None:
    """Write the generated modules below `target`; RuntimeError when protoc refuses."""
    import grpc_tools  # not there in production
    from grpc_tools import protoc

    target.mkdir(parents=True, exist_ok=True)
    plugin = Path(sys.executable).parent / "protoc-gen-py"
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", f"--plugin={plugin}", f"--py_out={target}", *sources]):
        raise RuntimeError("protoc refused the .proto files")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else GENERATED)
