#!/usr/bin/env bash
# tools/pretrain/surfaces.py: the C library's pictures from Python, its refusals as exceptions, a stream that goes on
# where it stopped. Usage: test_surfaces_python.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$2/tests/helper_python.sh" "$1" numpy
PYTHONPATH=$2/tools/pretrain python3 - <<'EOF'
import numpy as np
from surfaces import Surfaces

s = Surfaces(size=(24, 40), families=["wood", "gear"], threads=1)
assert [s.family_of(p) for p in range(3)] == ["wood", "gear", "wood"]
rgb, masks = s.paint([0, 1, 1], [5, 5, 5], [-1, s.defect_names.index("stain"), -1])
assert rgb.shape == (3, 24, 40, 3) and masks.shape == (3, 24, 40) and rgb.dtype == masks.dtype == np.uint8
differ = np.abs(rgb[1].astype(int) - rgb[2]).max(2) >= 4
assert differ.any() and np.array_equal(masks[1] == 255, differ) and not masks[[0, 2]].any()
assert np.array_equal(s.paint([1], [5])[0], rgb[2])


def refused(call, part):
    try:
        call()
    except ValueError as e:
        assert part in str(e), e
        return
    raise AssertionError("expected a refusal: " + part)


refused(lambda: s.paint([0], [0], [99]), "defects[0]: found 99")
refused(lambda: s.paint([0], [0, 1]), "one length")
refused(lambda: s.paint([0], [0], [1, 1]), "as long as programs")
refused(lambda: Surfaces(size=0).paint([0], [0]), "size: found 0 x 0")
refused(lambda: Surfaces(families=["wod"]), "wod")

draw = lambda step: ([step], [step])
whole = [x for _, (step, _, x) in zip(range(4), s.stream(draw))]
later = next(s.stream(draw, first=3))
assert later[0] == 3 and np.array_equal(later[2], whole[3])
refused(lambda: next(s.stream(lambda step: ([0], [0], [99]))), "defects[0]")
EOF
