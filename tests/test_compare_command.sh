#!/usr/bin/env bash
# blemish compare from outside: reports and CSV files side by side against figures from Python, refusals, damaged files.
# Usage: test_compare_command.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"
export OMP_NUM_THREADS=1

# As refuse, and standard output is empty.
refuse_silently() {
    refuse "$@"
    [ ! -s out ] || fail "blemish ${*:3}: printed $(head -c 200 out)"
}

echo "two reports of two models"
"$blemish" synth data --size 64 --train-good 6 --train-defect 6 --test-good 14 --test-defect 12 --quiet
for seed in 1 2; do
    "$blemish" train --data data --out $seed.blemish --set size=64 \
        --set hidden=64 --set batch=6 --set epochs=$seed --set seed=$seed --threads 1 --quiet --no-eval >/dev/null
    "$blemish" eval $seed.blemish --data data --report r$seed --report-images 0 --threads 1 --quiet >/dev/null
done
"$blemish" compare r1 r2/ r1/report.json --json --plot p.svg --csv t.csv >c.json 2>err
grep -q "too few" err || fail "no warning: $(cat err)"
cat >check.py <<'EOF'
import csv, json, math, xml.dom.minidom
c = json.load(open("c.json"))
reports = [json.load(open(f"r{k}/report.json")) for k in (1, 2, 1)]
assert (c["images"], c["defects"], c["resamples"], c["confidence"]) == (26, 12, 1000, 0.95)
assert [r["path"] for r in c["runs"]] == ["r1", "r2/", "r1/report.json"]
def quantile(v, q):
    v = sorted(v); at = q * (len(v) - 1); i = int(at)
    return v[i] + (at - i) * (v[min(i + 1, len(v) - 1)] - v[i])
for run, report in zip(c["runs"], reports):
    for name in ("i_auroc", "ap_det", "best_f1", "seg_i_auroc", "seg_ap_det", "p_auroc", "ap_loc", "aupro", "pixel_best_f1"):
        m = run["metrics"][name]
        assert abs(m["value"] - report["metrics"][name]) < 1e-8, name
        assert all(abs(a - b) < 1e-7 for a, b in zip(m["interval"], report["intervals"][name])), name # nine digits
        assert abs(m["difference"] - (m["value"] - c["runs"][0]["metrics"][name]["value"])) < 1e-8, name
        if name in report["resampled"]:
            d = [a - b for a, b in zip(report["resampled"][name], reports[0]["resampled"][name])]
            for q, bound in zip((0.025, 0.975), m["difference_interval"]):
                assert abs(quantile(d, q) - bound) < 1e-7, name
    rows = report["predictions"]
    escapes = sum(p["label"] == "defect" and not p["defect"] for p in rows)
    assert abs(run["metrics"]["escape_rate"]["value"] - escapes / 12) < 1e-8
    right = sum((p["label"] == "defect") == p["defect"] for p in rows)
    assert abs(run["metrics"]["accuracy"]["value"] - right / 26) < 1e-8
assert all(m["difference"] == 0 and m["difference_interval"] == [0, 0] and not m["differs"]
           for m in c["runs"][2]["metrics"].values()), "a run differs from itself"
table = list(csv.DictReader(open("t.csv")))
assert len(table) == 3 * 13
for row in table:
    m = next(r for r in c["runs"] if r["name"] == row["run"])["metrics"][row["metric"]]
    assert float(row["value"]) == m["value"] and float(row["low"]) == m["interval"][0]
    assert float(row["difference_high"]) == m["difference_interval"][1] and row["differs"] == str(int(m["differs"]))
svg = xml.dom.minidom.parse("p.svg")
dots = svg.getElementsByTagName("circle")
assert len(dots) == 13 * (3 + 2) # values, and differences of all but the first
for dot in dots:
    assert 270 <= float(dot.getAttribute("cx")) <= 790
EOF
python3 check.py
"$blemish" compare r1 r2 >table 2>/dev/null
grep -q "^26 images in common, 12 with a defect; intervals of 95 %; differences to r1" table || fail "$(cat table)"
[ "$(grep -c '^  r[12] ' table)" = 26 ] || fail "rows: $(cat table)"

echo "a report and its own CSV file agree; pixel metrics stand in reports only"
"$blemish" compare r1 r1/predictions.csv --json >c.json 2>/dev/null
python3 - <<'EOF'
import json
a, b = [r["metrics"] for r in json.load(open("c.json"))["runs"]]
assert b["i_auroc"]["difference"] == 0 and b["f1"]["value"] == a["f1"]["value"] and b["aupro"]["value"] is None
EOF

echo "other images"
awk '/,good,good,/ && n++ < 3 { next } { print }' r2/predictions.csv >some.csv
"$blemish" compare r1 some.csv >out 2>err || fail "some.csv: $(cat err)"
grep -q "r1: 3 of 26 images are left out" err && grep -q "pixel metrics are left out" err || fail "$(cat err)"
grep -q "^23 images in common" out && ! grep -q AUPRO out || fail "$(cat out)"
"$blemish" eval 2.blemish --data data --csv eval.csv --threads 1 --quiet >/dev/null
"$blemish" compare r1 eval.csv >/dev/null 2>err || fail "a file of eval --csv: $(cat err)"
python3 - <<'EOF' # the same images in another order, or another seed: no pairs of pixel metrics
import json
report = json.load(open("r2/report.json"))
report["resampled"]["seed"] = 5
json.dump(report, open("seed.json", "w"))
report["data"]["fingerprint"] = "0" * 64
json.dump(report, open("data.json", "w"))
report["predictions"].reverse()
report["resampled"]["seed"] = 0
json.dump(report, open("order.json", "w"))
EOF
for other in seed order; do
    "$blemish" compare r1 $other.json --json >c.json 2>err
    grep -q "$other.json: pixel metrics are not paired" err || fail "$other: $(cat err)"
    python3 -c 'import json; m = json.load(open("c.json"))["runs"][1]["metrics"]
assert m["aupro"]["value"] and m["aupro"]["difference"] is None and m["i_auroc"]["difference"] is not None'
done
"$blemish" compare r1 data.json >/dev/null 2>err
grep -q "data.json: its data set is not that of r1" err || fail "$(cat err)"

echo "refusals"
refuse_silently 2 "RUN" compare r1
refuse_silently 1 "nowhere: No such file" compare r1 nowhere
refuse_silently 1 "data/report.json: No such file or directory, expected a folder that" compare r1 data
refuse_silently 1 "found 3 good and 0 defective images in common, expected 10 or more" compare r1 <(head -1 r2/predictions.csv
    grep ',good,good' r2/predictions.csv | head -3)
sed '2,$s|^|/elsewhere|' r2/predictions.csv >moved.csv
refuse_silently 1 "found no image in common" compare r1 moved.csv
sed 's/,good,good,/,good,defect,/' r2/predictions.csv >label.csv
refuse_silently 1 "png: label: found good in r1 and defect in label.csv, expected one" compare r1 label.csv
{ cat r2/predictions.csv; tail -1 r2/predictions.csv; } >twice.csv
refuse_silently 1 "found twice" compare r1 twice.csv
edit() { python3 -c "import csv, sys
rows = list(csv.reader(open('r2/predictions.csv')))
$1
csv.writer(open('edit.csv', 'w')).writerows(rows)"; }
edit "rows = [r[:3] + r[4:] for r in rows]"
refuse_silently 1 "column score: found none" compare r1 edit.csv
for bad in nan inf 1e99 "" 0.5x; do
    edit "rows[3][3] = '$bad'"
    refuse_silently 1 "edit.csv: line 4: score: found '$bad', expected a finite number" compare r1 edit.csv
done
edit "rows[3][4] = '2'"
refuse_silently 1 "edit.csv: line 4: defect: found '2', expected 0 or 1" compare r1 edit.csv
edit "rows[3][2] = 'fine'"
refuse_silently 1 "edit.csv: line 4: label: found 'fine'" compare r1 edit.csv
edit "rows[5].pop()"
refuse_silently 1 "edit.csv: line 6: found 7 fields, expected 8" compare r1 edit.csv
edit "rows = []"
refuse_silently 1 "edit.csv: found nothing" compare r1 edit.csv
printf 'path,label\n"open' >edit.csv
refuse_silently 1 "column score" compare r1 edit.csv
{ head -2 r2/predictions.csv; printf '"open'; } >edit.csv
refuse_silently 1 "edit.csv: line 3: found a quote" compare r1 edit.csv
printf 'path\0,label\n' >edit.csv
refuse_silently 1 "zero byte" compare r1 edit.csv
json() { python3 -c "import json
r = json.load(open('r2/report.json'))
$1
json.dump(r, open('edit.json', 'w'))"; }
json "r['format'] = 'x'"
refuse_silently 1 "edit.json: format: expected" compare r1 edit.json
json "r['format_version'] = 2"
refuse_silently 1 "edit.json: format_version: expected 1" compare r1 edit.json
json "r['predictions'][4]['score'] = None"
refuse_silently 1 "edit.json: predictions: 5: score: expected a finite number" compare r1 edit.json
json "r['predictions'][4]['map_max'] = 1e99"
refuse_silently 1 "edit.json: predictions: 5: map_max: expected a finite number" compare r1 edit.json
json "del r['predictions'][0]['path']"
refuse_silently 1 "edit.json: predictions: 1: path" compare r1 edit.json
json "r['predictions'] = 3"
refuse_silently 1 "edit.json: predictions: expected a list" compare r1 edit.json
json "r['resampled']['aupro'].pop()"
refuse_silently 1 "edit.json: resampled: aupro: expected 1000 numbers" compare r1 edit.json
json "r['resampled']['resamples'] = 10**12"
refuse_silently 1 "edit.json: resampled: expected" compare r1 edit.json
refuse_silently 2 "resamples" compare r1 r2 --resamples 5
code=0
"$blemish" compare r1 r2 --plot no/p.svg >out 2>err || code=$?
[ $code = 1 ] && grep -q "^blemish: no/p.svg: No such file" err && [ ! -s out ] || fail "a plot without a folder: $(cat err)"

echo "truncations and flipped bits: one line or a result, never a crash"
cat >damage.py <<'EOF'
import random, subprocess, sys
blemish, kinds = sys.argv[1], [("r2/report.json", "damaged.json"), ("r2/predictions.csv", "damaged.csv")]
random.seed(3)
for source, name in kinds:
    whole = open(source, "rb").read()
    for trial in range(24):
        data = bytearray(whole[:random.randrange(len(whole))] if trial % 2 else whole)
        for _ in range(trial % 2 == 0 and 1 + trial // 4):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        open(name, "wb").write(data)
        run = subprocess.run([blemish, "compare", "r1/predictions.csv", name], capture_output=True)
        assert run.returncode in (0, 1), (name, trial, run)
        lines = run.stderr.decode(errors="replace").splitlines()
        assert all(line.startswith("blemish: ") for line in lines), lines
        assert run.returncode == 0 or sum("warning" not in line for line in lines) == 1, lines
        if name.endswith("json") and trial % 2:
            assert run.returncode == 1
EOF
python3 damage.py "$blemish"
echo passed
