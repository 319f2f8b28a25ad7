#!/usr/bin/env bash
# blemish roi and train --roi from outside: what they keep in the model file is what info, predict and eval then say; a
# refusal leaves the model alone. Usage: test_roi_command.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

# A left half, 8 x 4 pixels, as a binary PNG made by hand.
python3 - <<'EOP'
import struct, zlib
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
def write(name, rows):
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    open(name, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
write("left.png", [[255] * 4 + [0] * 4] * 4)
write("black.png", [[0] * 8] * 4)
EOP
"$blemish" synth data --size 64 --train-good 8 --train-defect 4 --test-good 5 --test-defect 4 --quiet
train=("$blemish" train --data data --set size=64 --set hidden=64 --set batch=8 --set epochs=1
    --threads 1 --quiet --no-eval)
"${train[@]}" --out m.blemish --roi left.png >out
cp m.blemish before

echo "refusals"
refuse 2 "found nothing to do" roi m.blemish
refuse 2 "found 2 of them, expected one" roi m.blemish --none --mask left.png
refuse 2 "learn: needs --data" roi m.blemish --learn
refuse 1 "gone.png" roi m.blemish --mask gone.png
refuse 1 "found a mask without a pixel that counts" roi m.blemish --mask black.png
refuse 1 "good training images, expected 8 or more" roi m.blemish --learn --data data/test
refuse 1 "found a model by tiles" train --data data --set size=64 --tiles --threads 1 --quiet --out t.blemish --roi left.png
refuse 1 "tiles: found a model with a region of interest" predict m.blemish data/test/good --tiles --threads 1
cmp m.blemish before || fail "a refusal changed the model"

echo "what is kept"
inode=$(stat -c %i m.blemish)
"$blemish" roi m.blemish --save-mask mask.png --preview seen.png --data data >out
[ -s seen.png ] || fail "no preview"
[ "$(stat -c %i m.blemish)" = "$inode" ] || fail "the model was written though nothing was set"
info() {
    "$blemish" info "$1" --json | python3 -c "
import json, sys
v = json.load(sys.stdin)
assert ($2), v"
}
info m.blemish 'v["header"]["roi"] is True and v["header"]["format_version"] == 2 and v["roi_share"] == 0.5'
"$blemish" info m.blemish | grep -q "^region of interest  *50.0 % of the image" || fail "$("$blemish" info m.blemish)"
"$blemish" roi m.blemish --min-area 9 >out 2>err
[ ! -s err ] || fail "a least area alone said: $(cat err)"
info m.blemish 'v["header"]["min_area"] == 9 and v["header"]["border"] == 0 and v["header"]["roi"] is True'
"$blemish" roi m.blemish --min-area 0 >out
cmp m.blemish before || fail "a least area that was taken back left something"
"$blemish" roi m.blemish --border 30 --out border.blemish >out 2>err
grep -q "blemish calibrate" err || fail "nothing was said of the thresholds: $(cat err)"
info border.blemish 'v["header"]["border"] == 30 and v["header"]["roi"] is True and
    (v["header"]["calibration"]["rule"], v["header"]["calibration"]["pixel_rule"]) == ("f1", "given")'
"$blemish" roi m.blemish --none --out whole.blemish >out 2>err
grep -q "blemish calibrate" err || fail "nothing was said of the thresholds: $(cat err)"
info whole.blemish 'v["header"]["roi"] is False and v["header"]["format_version"] == 1 and v["roi_share"] == 1'
"$blemish" roi whole.blemish --mask mask.png --out again.blemish >out 2>err
"$blemish" roi m.blemish --mask mask.png --out same.blemish >out 2>err # the region that it has
cmp same.blemish before || fail "the same region again changed the model"
"$blemish" roi whole.blemish --learn --data data --quiet >out 2>err # synthetic surfaces have no background
grep -q "region of interest: all of the image, by 8 good images: " err && grep -q "100.0 %" out || fail "$(cat out err)"
info whole.blemish 'v["header"]["roi"] is False and v["header"]["format_version"] == 1'

echo "what it does"
"$blemish" predict m.blemish data/test/*/*.png --pixel-threshold 0 --threads 1 >p.jsonl
python3 - <<'EOP' || fail "$(head -2 p.jsonl)"
import json
for line in open("p.jsonl"):
    regions = json.loads(line)["regions"]
    assert [(r["x"], r["y"], r["width"], r["height"], r["area"]) for r in regions] == [(0, 0, 32, 64, 2048)], regions
    assert (regions[0]["centroid_x"], regions[0]["centroid_y"]) == (15.5, 31.5)
EOP
for model in m border; do "$blemish" eval $model.blemish --data data --csv $model.csv --threads 1 --quiet >$model.txt; done
"$blemish" eval m.blemish --data data --border 30 --csv option.csv --report r --threads 1 --quiet >option.txt
cmp border.csv option.csv && diff <(grep -v seconds border.txt) <(grep -v seconds option.txt) ||
    fail "eval --border gives other results than the model's border"
cut -d, -f1-5 m.csv | cmp - <(cut -d, -f1-5 option.csv) || fail "a border changed the score's own verdicts"
! cmp -s m.csv option.csv || fail "a border changed no map"
python3 -c 'import json; assert json.load(open("r/report.json"))["model"]["header"]["border"] == 30' || fail "report.json"
"$blemish" eval border.blemish --data data --border 0 --csv none.csv --threads 1 --quiet >out
cmp m.csv none.csv || fail "eval --border 0 does not turn the model's border off"
cmp m.blemish before || fail "eval changed the model"
"$blemish" quantize m.blemish --data data --images 2 --threads 1 --quiet --out q.blemish >out
info q.blemish 'v["roi_share"] == 0.5'
