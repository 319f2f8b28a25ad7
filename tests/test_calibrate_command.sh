#!/usr/bin/env bash
# blemish calibrate from outside: what it writes is what eval and predict then do; its refusals leave the model alone.
# Usage: test_calibrate_command.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

"$blemish" synth data --size 64 --train-good 6 --train-defect 4 --test-good 9 --test-defect 4 --quiet
"$blemish" train --data data --out m.blemish --set size=64 --set hidden=64 \
    --set batch=8 --set epochs=1 --threads 1 --quiet --no-eval >out
cp m.blemish before

refuse 2 "data DIR|CSV is required" calibrate m.blemish
refuse 2 "rule: found" calibrate m.blemish --data data --rule best
refuse 1 "found 9 good images to choose the threshold on, expected 59" \
    calibrate m.blemish --data data --rule budget --verdict score --threads 1 --quiet
refuse 1 "budget: found 0, expected a number between 0 and 1" calibrate m.blemish --data data --budget 0 --threads 1 --quiet
cmp m.blemish before || fail "a refusal changed the model"

"$blemish" info m.blemish --json | python3 -c 'import json, sys # what training chose the thresholds by
c = json.load(sys.stdin)["header"]["calibration"]
assert (c["rule"], c["pixel_rule"], c["verdict"], c["probability"]) == ("f1", "f1", "score", "none"), c
assert (c["good"], c["defects"], c["trained_on"]) == (6, 4, True) and len(c["data_fingerprint"]) == 64, c'
"$blemish" info m.blemish | grep -q "rule  *f1" || fail "$("$blemish" info m.blemish)"

for rule in f1 zero-escapes costs conformal; do
    "$blemish" calibrate m.blemish --data data --rule $rule --verdict combined --alpha 0.2 --out c.blemish --json \
        --threads 1 --quiet >c.json 2>err
    "$blemish" eval c.blemish --data data --json --threads 1 --quiet >e.json
    python3 - $rule <<'EOP' || fail "$rule: $(cat c.json)"
import json, sys
c, e = json.load(open("c.json")), json.load(open("e.json"))
k, v = c["calibration"], e["verdicts"]
assert k["rule"] == k["pixel_rule"] == sys.argv[1] and k["verdict"] == "combined" and len(k["weights"]) == 3
assert (v["missed"], v["false_alarms"]) == (k["escapes"], k["false_alarms"]), (v, k)
assert v["missed"] == 0 or sys.argv[1] != "zero-escapes"
assert c["threshold"] == e["threshold"]
EOP
    "$blemish" predict c.blemish data/test/good/*.png --threads 1 >p.jsonl
    python3 - <<'EOP' || fail "$rule: $(cat c.json p.jsonl)"
import json
how = json.load(open("c.json"))["calibration"]["probability"]
lines = [json.loads(line) for line in open("p.jsonl")]
assert lines and all(("probability" in v) == (how != "none") for v in lines)
assert all(0 <= v.get("probability", 0) <= 1 for v in lines)
EOP
done
"$blemish" predict m.blemish data/test/good/*.png --threads 1 >p.jsonl
! grep -q probability p.jsonl || fail "a probability without a calibration: $(cat p.jsonl)"
cmp m.blemish before || fail "--out changed MODEL"
"$blemish" calibrate m.blemish --data data --threads 1 --quiet >out 2>err
grep -q "^model: m.blemish" out && "$blemish" info m.blemish | grep -q "rule  *f1" || fail "in place: $(cat out err)"

# Ctrl-C: the file stays as it was, and nothing is left beside it.
"$blemish" synth many --size 64 --train-good 1 --train-defect 0 --test-good 600 --test-defect 0 --quiet
cp m.blemish before
mkdir alone && cp m.blemish alone
interrupt "^evaluate" calibrate alone/m.blemish --data many --threads 1
if [ $code = 0 ]; then
    echo "the calibration was over before the signal" # on a very fast machine
else
    [ $code = 1 ] && grep -q "interrupted; nothing is written" err || fail "Ctrl-C: $code, $(cat err)"
    cmp alone/m.blemish before || fail "Ctrl-C changed the model"
fi
[ "$(ls -A alone)" = m.blemish ] || fail "left beside the model: $(ls -A alone)"
