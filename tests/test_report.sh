#!/usr/bin/env bash
# blemish eval --report from outside: three files that agree with each other and with eval's own figures, a page that asks
# nobody for anything, and folders that cannot be written.
# Usage: test_report.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

"$blemish" synth data --size 64 --train-good 6 --train-defect 0 --test-good 6 --test-defect 5 --quiet
"$blemish" train --data data --out m.blemish --set size=64 --set hidden=64 \
    --set batch=6 --set epochs=1 --threads 1 --quiet --no-eval >/dev/null

echo "the files of a whole evaluation"
"$blemish" eval m.blemish --data data --report r --json --quiet --cost-escape 50 --cost-false-alarm 2 >eval.json
[ "$(ls -A r | sort | tr '\n' ' ')" = "predictions.csv report.html report.json " ] || fail "$(ls -A r)"
cat >check.py <<'EOF'
import base64, csv, json, math, re, sys
folder, images = sys.argv[1], int(sys.argv[2])
report = json.load(open(folder + "/report.json"))
rows = list(csv.DictReader(open(folder + "/predictions.csv", newline="")))
page = open(folder + "/report.html", encoding="utf-8").read()
known = [p for p in report["predictions"] if p["label"]]
assert len(rows) == len(report["predictions"]) == report["data"]["images"]
for row, p in zip(rows, report["predictions"]):
    assert (row["path"], row["type"], row["label"]) == (p["path"], p["type"], p["label"] or "")
    assert math.isclose(float(row["score"]), p["score"], rel_tol=1e-6) and row["defect"] == str(int(p["defect"]))
verdicts = [(p["label"], p["defect"]) for p in known]
at = report["at_threshold"]
wanted = [verdicts.count(v) for v in (("defect", True), ("defect", False), ("good", True), ("good", False))]
assert [at[k] for k in ("found", "missed", "false_alarms", "good_passed")] == wanted
if wanted[0] + wanted[1]:
    rate = at["found_rate"]
    assert rate["value"] == wanted[0] / (wanted[0] + wanted[1]) and rate["low"] <= rate["value"] <= rate["high"]
for name, bounds in report["intervals"].items():
    value = report["metrics"][name]
    assert (bounds is None) == (value is None) and (bounds is None or 0 <= bounds[0] <= bounds[1] <= 1), name
if len({p["label"] for p in known}) == 2: # areas of the curves drawn are the metrics
    c = report["curves"]["images"]
    x, y = [0] + c["fpr"] + [1], [0] + c["recall"] + [1]
    area = sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))
    assert abs(area - report["metrics"]["i_auroc"]) < 1e-9, area
else:
    assert report["curves"] == {"images": None, "pixels": None}
assert len(report["warnings"]) >= 1 # these sets are small
resampled = report["resampled"] # what the pixel metrics' intervals are percentiles of; not in the page
assert (resampled is None) == (report["metrics"]["aupro"] is None) and '"resampled"' not in page
if resampled:
    values = sorted(resampled["aupro"])
    assert len(values) == 1000 and abs(max(0, values[24] + 0.975 * (values[25] - values[24])) - report["intervals"]["aupro"][0]) < 1e-7
# The page holds the same data, and nothing is fetched.
assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!data:|#)""", page)
assert "@import" not in page and "http-equiv=\"Content-Security-Policy\"" in page
assert not re.findall(r"https?://(?!www\.w3\.org/)", page) # but for the names of XML
pictures = re.findall(r"data:image/(jpeg|png);base64,([A-Za-z0-9+/=]+)", page)
for kind, text in pictures:
    assert base64.b64decode(text)[:3] == (b"\xff\xd8\xff" if kind == "jpeg" else b"\x89PN")
assert sum(p["picture"] is not None for p in report["predictions"]) == images, images
assert bool(pictures) == bool(images)
EOF
python3 check.py r 11
python3 - <<'EOF'
import json
report, printed = json.load(open("r/report.json")), json.load(open("eval.json"))
for key, value in report["metrics"].items():
    assert key == "seconds_per_image" or value == printed[key], key
at = report["at_threshold"]
assert at["cost"] == 50 * at["missed"] + 2 * at["false_alarms"]
assert sum(g["images"] for g in report["by_type"]) == sum(g["images"] for g in report["by_size"]) == 5
EOF

echo "fewer pictures; an old report is replaced"
cp r/report.json old.json
"$blemish" eval m.blemish --data data --report r --report-images 3 --quiet >/dev/null
python3 check.py r 3
"$blemish" eval m.blemish --data data --report none --report-images 0 --quiet >/dev/null
python3 check.py none 0

echo "good images only, one image, unknown labels, tags only"
good=$(find "$PWD/data/test/good" -name '*.png' | sort)
bad=$(find "$PWD/data/test" -name '*.png' -not -path '*/good/*' | sort)
csv() { # FILE, then lines path,label
    local file=$1
    shift
    { echo "path,label,split"; printf '%s,test\n' "$@"; } >"$file"
}
csv good.csv $(sed 's/$/,good/' <<<"$good")
csv one.csv "$(head -1 <<<"$bad"),defect"
csv mixed.csv $(sed 's/$/,good/' <<<"$good") $(sed 's/$/,defect/' <<<"$bad") "$(head -1 <<<"$good" | xargs -I{} sh -c 'cp {} copy.png; echo $PWD/copy.png'),"
for set in good one mixed; do
    "$blemish" eval m.blemish --data $set.csv --report $set --quiet >/dev/null
    python3 check.py $set $(($(wc -l <$set.csv) - 1 - $([ $set = mixed ] && echo 1 || echo 0)))
done

echo "Ctrl-C writes nothing"
"$blemish" synth many --size 64 --train-good 1 --train-defect 0 --test-good 600 --test-defect 0 --quiet
interrupt "^evaluate" eval m.blemish --data many --report stopped --threads 1
if [ $code = 0 ]; then
    echo "the evaluation was over before the signal" # on a very fast machine
else
    [ $code = 1 ] && grep -q "interrupted; nothing is written" err && [ ! -e stopped ] || fail "Ctrl-C: $code, $(cat err)"
fi

echo "names are text, never markup"
odd="<img src=x onerror=alert(1)> & \"quotes' ü"
mkdir -p "$odd/<" && cp "$(head -1 <<<"$good")" "$odd/</script><b>.png"
{ echo "path,label,split"; printf '"%s",good,test\n' "${PWD//\"/\"\"}/${odd//\"/\"\"}/</script><b>.png"; } >odd.csv
"$blemish" eval m.blemish --data odd.csv --report odd --quiet >/dev/null
python3 - <<'EOF'
import json, re
page = open("odd/report.html", encoding="utf-8").read()
assert page.count("</script>") == len(re.findall(r"<script\b", page)), "a name ends the script"
assert "<img src=x" not in page
assert json.load(open("odd/report.json"))["predictions"][0]["path"].endswith("</script><b>.png")
EOF

echo "refusals"
touch file
refuse 1 "file: found a file, expected a folder" eval m.blemish --data data --report file
refuse 1 "no/such: cannot make it" eval m.blemish --data data --report no/such
mkdir -p taken/report.html
refuse 1 "taken/report.html: found a folder" eval m.blemish --data data --report taken --quiet
[ "$(ls -A taken)" = report.html ] || fail "files beside a folder in the page's place: $(ls -A taken)"
refuse 2 "report-images" eval m.blemish --data data --report q --report-images x
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod a-w locked
    refuse 1 "locked: Permission denied" eval m.blemish --data data --report locked
fi
if [ -w /dev/full ]; then # a full disk: the page's temporary file is one that takes nothing
    mkdir full && ln -s /dev/full full/.report.html.new
    refuse 1 "report.html: No space left on device" eval m.blemish --data data --report full --quiet
    [ -z "$(ls full)" ] || fail "something was left of a report on a full disk: $(ls full)"
fi
echo passed
