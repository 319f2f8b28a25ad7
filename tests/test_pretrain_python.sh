#!/usr/bin/env bash
# tools/pretrain/pretrain.py: a run that was stopped goes on to the same bits, a run that is to be longer leaves from
# where its rate began to fall; refusals; the file can be read. Usage: test_pretrain_python.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$2/tests/helper_python.sh" "$1" "torch, numpy"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run() {
    python3 "$2/tools/pretrain/pretrain.py" "$folder/$3" --size 32 --batch 8 --programs 41 --threads 1 --cooldown 0.5 \
        --objective nearest=1,program=1,local=1,instance=1,masked=1 --own 0.5 "${@:4}"
}
run "$1" "$2" whole --steps 4
run "$1" "$2" parts --steps 4 --stop-after 1 2>"$folder/stopped" && exit 1
grep -q "stopped at step 1 of 4" "$folder/stopped"
run "$1" "$2" parts --steps 4 --stop-after 2 2>"$folder/stopped" && exit 1
grep -q "stopped at step 3 of 4" "$folder/stopped"
run "$1" "$2" parts --steps 4
cmp "$folder/whole/builtin.safetensors" "$folder/parts/builtin.safetensors"

run "$1" "$2" whole --steps 8
run "$1" "$2" longer --steps 8
cmp "$folder/whole/builtin.safetensors" "$folder/longer/builtin.safetensors"

run "$1" "$2" whole --steps 8 --rate 1 2>"$folder/refused" && exit 1
grep -q "identity: found" "$folder/refused"
run "$1" "$2" other --objective taste=1 2>"$folder/refused" && exit 1
grep -q "objective: found taste" "$folder/refused"
run "$1" "$2" other --own 2 2>"$folder/refused" && exit 1
grep -q "own: found 2, expected 0 to 1" "$folder/refused"
run "$1" "$2" other --batch 6 2>"$folder/refused" && exit 1
grep -q "batch: found 6, expected a multiple of 4, 8 or more" "$folder/refused"
PYTHONPATH=$2/tools/pretrain python3 - "$folder" <<'EOF'
import sys
import torch
from trunk import Trunk, load, write_safetensors

trunk = load(sys.argv[1] + "/whole/builtin.safetensors")
f2, f3 = trunk(torch.zeros(1, 3, 64, 96))
assert f2.shape == (1, 128, 8, 12) and f3.shape == (1, 256, 4, 6)
state = trunk.state_dict()
state["conv1.weight"] *= 1e9
try:
    write_safetensors(sys.argv[1] + "/beyond.safetensors", state, {})
    raise AssertionError("expected a refusal")
except ValueError as e:
    assert "conv1.weight: found a value beyond fp16" in str(e), e
EOF
