#!/bin/bash
# Our files in Python's safetensors, and its files in ours. $1: build folder. 77: skipped.
set -eu
python=${PYTHON:-python3}
program=$1/tests/test_tensors
if ! "$python" -c 'import numpy, safetensors.numpy' 2>/dev/null; then
  echo "SKIP: $python has no safetensors"
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

"$program" write "$folder/ours.safetensors"
"$python" - "$folder" <<'PYTHON'
import sys
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

with safe_open(sys.argv[1] + "/ours.safetensors", "np") as f:
    assert f.metadata() == {"json": '{"x": [1, "\u00e9"]}', "line": "a\nb\x7f"}, f.metadata()
    expected = {"z": np.array([[0, -1, 2.5], [3, 4, 5]], "f4"), "scalar": np.array(-5, "i8"),
                "empty": np.zeros((0, 7), "f8"), "half": np.array([1, -2], "f2")}
    assert set(f.keys()) == set(expected), f.keys()
    for name, value in expected.items():
        found = f.get_tensor(name)
        assert found.dtype == value.dtype and found.shape == value.shape and (found == value).all(), name

save_file({"b": np.array([[1, 2], [3, 4]], "f4"), "a": np.array([1.5, 2], "f2"), "c": np.array(7, "i8"),
           "d": np.array([[255]], "u1"), "e": np.array([-1e3], "f8"), "empty": np.zeros((3, 0), "i4"),
           "f": np.array([-3], "i1")}, sys.argv[1] + "/theirs.safetensors", metadata={"note": "one"})
PYTHON
"$program" read "$folder/theirs.safetensors" >"$folder/found"
diff "$folder/found" - <<'EXPECTED'
a 1.5 2
b 1 2 3 4
c 7
d 255
e -1000
empty
f -3
note=one
EXPECTED
