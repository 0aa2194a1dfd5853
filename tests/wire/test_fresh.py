"""The generated code is what the .proto files say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATED = ROOT / "src" / "meerkat" / "wire" / "v1"


@pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="grpcio-tools is not installed")
def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    """Regenerating gives the very bytes that are committed, and nothing else lies beside them."""
    subprocess.run([sys.executable, ROOT / "scripts" / "gen_wire.py", "--out", tmp_path], check=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "meerkat" / "wire" / "v1").iterdir()}
    kept = {path.name: path.read_bytes() for path in GENERATED.glob("*_pb2*")}
    assert sorted(fresh) == sorted(kept)
    assert [name for name in fresh if fresh[name] != kept[name]] == []
    others = {path.name for path in GENERATED.iterdir()} - set(kept)
    assert others - {"__pycache__"} == {"__init__.py", "pool.proto", "control.proto"}
