#!/usr/bin/env bash
# blemish audit from outside: its files, its refusals, and a stop by Ctrl-C.
# Usage: test_audit_command.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

tiny=(--set size=64 --set hidden=64 --set batch=8 --set epochs=2 --threads 1 --quiet)
"$blemish" synth data --size 64 --train-good 6 --train-defect 4 --test-good 2 --test-defect 2 --quiet
"$blemish" train --data data --out m.blemish "${tiny[@]}" --no-eval >out

echo "refusals"
refuse 2 "out DIR is required" audit --data data
refuse 2 "folds: found '1'" audit --data data --out o --folds 1
refuse 1 "nothing.blemish" audit nothing.blemish --data data --out o
refuse 1 "found 8 good and 6 defective images" audit m.blemish --data data --out o "${tiny[@]}" --folds 7
mkdir full && touch full/file
refuse 1 "full: found files in it, expected a new or an empty folder" audit m.blemish --data data --out full "${tiny[@]}"

echo "a whole audit"
"$blemish" audit m.blemish --data data --out o --folds 2 --overlays 3 "${tiny[@]}" >out 2>err || fail "audit: $(cat err)"
[ ! -s err ] || fail "audit --quiet: $(cat err)"
python3 - <<'EOF'
import csv, json, os
rows = list(csv.DictReader(open("o/audit.csv")))
lines = [json.loads(line) for line in open("o/audit.jsonl")]
assert len(rows) == len(lines) == 14, (len(rows), len(lines))
assert [int(r["rank"]) for r in rows] == list(range(1, 15))
disputes = [float(r["dispute"]) for r in rows]
assert disputes == sorted(disputes, reverse=True)
assert len({r["path"] for r in rows}) == 14 and {r["split"] for r in rows} == {"train", "test"}
disputed = sum(d > 0 for d in disputes)
for i, (r, l) in enumerate(zip(rows, lines)):
    for key in ("path", "type", "label", "split", "suspect", "overlay"):
        assert r[key] == (l[key] or ""), (key, r, l)
    assert float(r["score"]) == l["score"] and int(r["fold"]) == l["fold"] in (0, 1)
    wanted = "" if disputes[i] <= 0 else "unlabelled defect" if r["label"] == "good" else "mislabelled"
    assert r["suspect"] == wanted, r
    assert bool(r["overlay"]) == (i < min(3, disputed)), r
    assert not r["overlay"] or open(r["overlay"], "rb").read(4) == b"\x89PNG", r
assert f"{disputed} of 14 labels are disputed" in open("out").read()
assert set(os.listdir("o")) == {"audit.csv", "audit.jsonl"} | ({"overlays"} if disputed else set())
EOF

echo "Ctrl-C"
interrupt "^fold 1/4 train" audit m.blemish --data data --out stopped --set epochs=100000 --threads 1
[ $code = 1 ] && grep -q "^blemish: interrupted; nothing is written" err || fail "Ctrl-C: status $code, $(cat err)"
[ -z "$(ls stopped)" ] || fail "Ctrl-C left $(ls stopped)"
