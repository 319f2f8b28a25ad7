#!/usr/bin/env bash
# The command from outside: usage errors, exit codes, one-line messages, help and man pages of every subcommand, and the
# whole way from made images over a small training to predictions, with the accidents that a user's day holds.
# Usage: test_cli.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"
man=$build/man
commands=(train eval predict info data synth weights bench protocol audit quantize calibrate compare roi)

# json FILE EXPRESSION: every line of FILE is JSON (one value without --lines) for which the expression over v is true.
json() {
    python3 -c '
import json, sys
text = open(sys.argv[1]).read()
values = [json.loads(line) for line in text.splitlines()] if sys.argv[1].endswith("l") else [json.loads(text)]
bad = [v for v in values if not eval(f"({sys.argv[2]})", {"v": v})]
sys.exit(f"not {sys.argv[2]}: {bad[0]}" if bad or not values else 0)' "$1" "$2" || fail "$1"
}

echo "usage"
refuse 2 "a command is missing"
refuse 2 "unknown command, did you mean train?" trian
refuse 2 "unknown command; see" frobnicate
refuse 2 "unknown command" help frobnicate
for command in "${commands[@]}"; do
    refuse 2 "$command: --no-such-thing: unknown option; see 'blemish $command --help'" "$command" --no-such-thing x
    refuse 2 "$command: -x: unknown option" "$command" -x
    [ ! -s out ] || fail "$command: a usage error wrote to standard output"
done
refuse 2 "did you mean --overlays?" predict m x --overlay d
refuse 2 "did you mean --backbone?" bench --bakcbone=resnet18
refuse 2 "--data DIR|CSV is required" train --out m
refuse 2 "--out MODEL is required" train --data d
refuse 2 "found 0 operands, expected MODEL" eval --data d
refuse 2 "found 1 operand, expected MODEL IMAGE..." predict m
refuse 2 "b: one operand too many" info a b
refuse 2 "one operand too many" train --data d --out m x
refuse 2 "--quiet takes no value" eval m --data d --quiet=1
refuse 2 "--out needs a value: MODEL" train --data d --out
refuse 2 "--threads: found '-1', expected a whole number from 0 to 1024" eval m --data d --threads=-1
refuse 2 "--batch: found '0', expected a whole number from 1" bench --batch 0
refuse 2 "--runs: found '5 ', expected" bench --runs "5 "
refuse 2 "--seed: found '18446744073709551616', expected" synth d --seed 18446744073709551616
refuse 2 "--size: found '64x', expected" bench --size 64x
refuse 2 "--size: found '64x64x64', expected" bench --size 64x64x64
refuse 2 "--precision: found 'fp', expected auto|fp32" bench --precision fp
refuse 2 "--split: found '', expected test|train" eval m --data d --split=
refuse 2 "--threshold: found 'nan', expected a number from 0 to 1" predict m x --threshold nan
refuse 2 "--threshold: found '1.5', expected" predict m x --threshold 1.5
refuse 2 "--set: found 'epochs', expected KEY=VALUE" train --data d --out m --set epochs
refuse 1 "recipe supervisd: found neither a file nor a shipped recipe, did you mean supervised?" train --data d --out m --recipe supervisd
refuse 2 "--set epoch=3: " train --data d --out m --set epoch=3
refuse 2 "--epochs: .*found '0'" train --data d --out m --epochs 0
refuse 2 "found 0 operands, expected DIR|CSV" data
refuse 2 "--fold: found '3', expected a whole number from 0 to 2" data d --fold 3
refuse 2 "--masks: found '-1', expected a whole number" train --data d --out m --masks -1
refuse 2 "--mask-ratio: found '1.1', expected a number from 0 to 1" eval m --data d --mask-ratio 1.1
refuse 2 "--layout: found 'visual', expected auto|mvtec|visa|ksdd2|sensum|magnetic-tile|folder|csv" data d --layout visual
refuse 2 "expected list, import FILE or fetch NAME" weights import
refuse 2 "expected list, import FILE or fetch NAME" weights lst
refuse 2 "a?b: unknown option" eval $'--a\nb' # cannot forge a second line

echo "quickstart"
"$source/quickstart" --help >out && grep -q "^usage: " out || fail "quickstart --help"
mkdir -p quick/out/quickstart/data
cp "$source/quickstart" quick # its output folder is beside it
for data in "" quick/out/quickstart quick/out/quickstart/data; do
    code=0 && quick/quickstart --data "$data" >out 2>&1 || code=$?
    [ $code = 2 ] && [ -d quick/out/quickstart/data ] || fail "quickstart --data '$data': $code $(cat out)"
done

echo "help and man pages"
expect 0 --version
grep -Eqx 'blemish [0-9]+\.[0-9]+\.[0-9]+' out || fail "--version: $(cat out)"
expect 0 --help
for command in "${commands[@]}"; do grep -q "^  $command " out || fail "--help does not list $command"; done
for command in "" "${commands[@]}"; do
    expect 0 $command --help
    grep -q "^Example" out || fail "$command --help has no example"
    [ ! -s err ] || fail "$command --help writes to stderr: $(cat err)"
    page=$man/blemish${command:+-$command}.1
    [ -s "$page" ] || fail "$page is missing"
    for option in $(sed -nE 's/^  (--[a-z-]+).*/\1/p' out); do
        grep -q -e "${option//-/\\\\-}\b" "$page" || fail "$page does not explain $option"
    done
    if command -v groff >/dev/null; then
        warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1) && [ -z "$warnings" ] || fail "$page: $warnings"
    fi
done
expect 0 train --help
for key in train.epochs anomaly.noise_std train.regime; do grep -q "^  $key " out || fail "train --help does not list the key $key"; done
code=0 && "$blemish" train --help >/dev/full 2>err || code=$?
[ $code = 1 ] && grep -qx "blemish: standard output: No space left on device" err || fail "help to a full disk: $code $(cat err)"
code=0 && "$blemish" --version >&- 2>err || code=$?
[ $code = 1 ] && [ "$(wc -l <err)" = 1 ] || fail "closed standard output: $code $(cat err)"

echo "failures without a model"
refuse 1 "missing.blemish" info missing.blemish
refuse 1 "missing.blemish" eval missing.blemish --data .
refuse 1 "missing.blemish" predict missing.blemish x.png
refuse 1 "missing" bench missing.blemish
head -c 1000 /dev/urandom >noise.blemish
refuse 1 "noise.blemish" info noise.blemish
refuse 1 "noise.blemish" predict noise.blemish x.png
refuse 1 "nowhere" train --data nowhere --out m.blemish
refuse 1 "no/m.blemish: No such file or directory" train --data . --out no/m.blemish
mkdir taken taken.blemish.checkpoint
refuse 1 "taken: found something that is not a regular file" train --data . --out taken
refuse 1 "taken.blemish.checkpoint: found something that is not a regular file" train --data . --out taken.blemish
refuse 1 "noise.blemish" weights import noise.blemish
refuse 1 "nosuch" weights fetch nosuch
HOME=$work BLEMISH_WEIGHTS=$work/w expect 0 weights list
grep -q "^  $work/w$" out && grep -q "^resnet18 " out || fail "weights list: $(cat out)"
mkdir w && touch w/resnet18.safetensors
HOME=$work BLEMISH_WEIGHTS=$work/w expect 0 weights list
grep -qx "  file    $work/w/resnet18.safetensors" out || fail "weights list and training differ: $(cat out)"

echo "made images"
expect 0 synth data --size 64x80 --train-good 6 --train-defect 4 --test-good 4 --test-defect 4 --seed 3
[ "$(find data -name '*.png' -path '*train*' | wc -l)" -ge 10 ] || fail "synth: $(find data)"
refuse 1 "data" synth data
expect 0 synth again --quiet --size 64x80 --train-good 6 --train-defect 4 --test-good 4 --test-defect 4 --seed 3
[ ! -s err ] || fail "synth --quiet: $(cat err)"
diff -r data again || fail "synth: the same seed gives other images"

expect 0 synth materials --size 32 --surface wood,screw --programs 3 --train-good 1 --train-defect 1 --test-good 1 \
    --test-defect 2 --quiet
[ "$(ls materials | tr '\n' ' ')" = "0000-wood 0001-screw 0002-wood " ] || fail "synth --programs: $(ls materials)"
expect 0 synth --contact-sheet sheet.png --surface gear,mixture --size 16
[ -s sheet.png ] || fail "synth --contact-sheet wrote nothing"
refuse 2 "DIR: found nothing" synth
refuse 2 "d: not made with --contact-sheet" synth d --contact-sheet sheet.png
refuse 2 "--surface: found 'wod'" synth d --surface wood,wod
refuse 2 "--surface: found ''" synth d --surface wood,
refuse 1 "programs: found 2 without families" synth d --programs 2
[ ! -e d ] || fail "synth: a refused request made a folder"

# The first signal waits for the image at work, which takes seconds at this size; the second one does not.
"$blemish" synth large --size 4096 --quiet 2>err &
sleep 1
kill -INT $! && sleep 0.05 && kill -INT $!
code=0 && wait $! 2>/dev/null || code=$?
[ $code = 130 ] && [ ! -s err ] || fail "two signals: $code $(cat err)"

echo "data"
expect 0 data data
grep -q "^layout: mvtec$" out && grep -Eq "^train +10 +6 +4 +0 +4 +0$" out && grep -Eq "^test +8 +4 +4 +0 +4 +0$" out &&
    grep -Eq "^80 x 64 +18$" out && grep -q "^problems: 0$" out || fail "data: $(cat out)"
grep -q "^check 100 %" err || fail "data shows no progress: $(cat err)"
expect 0 data data --quiet --strict --json --mask-ratio 0.25
[ ! -s err ] || fail "data --quiet: $(cat err)"
cp out data.json
json data.json 'v["layout"] == "mvtec" and v["splits"]["train"] == {"images": 10, "good": 6, "defects": 4, "unlabelled": 0,
    "masks": 1, "score_only": 3} and v["splits"]["test"]["masks"] == 4 and v["types"]["good"] == {"train": 6, "test": 4} and
    v["sizes"] == [{"width": 80, "height": 64, "images": 18}] and v["problems"] == [] and
    not any(v["problem_counts"].values())'
refuse 1 "mask_count: found 5, expected at most the training split.s 4 masks" data data --masks 5
refuse 1 "fold: found 1, but the mvtec layout has no folds" data data --fold 1
printf 'path,label,split\n%s,good,train\n%s,good,test\nlost.png,,\n' $(find data -path '*train/good*' -name '*.png' | head -1){,} >twice.csv
expect 0 data twice.csv --quiet --json
cp out data.json
json data.json 'v["problem_counts"]["leaked"] == 1 and v["problem_counts"]["image-unreadable"] == 1 and
    "twice.csv: line 4: path: found " in v["problems"][0]["text"] and len(v["problems"]) == 2'
refuse 1 "twice.csv: found 2 problems, expected none" data twice.csv --quiet --strict
grep -q "^problems: 2$" out && grep -Eq "^  leaked +1$" out || fail "data --strict: $(cat out)"
refuse 1 "twice.csv: line 4: path: found " train --data twice.csv --out m.blemish
refuse 1 "nowhere" data nowhere

echo "bench"
expect 0 bench --backbone resnet18 --size 64x80 --batch 2 --threads 1 --runs 3 --warmup 1 --json
cp out bench.json
json bench.json 'v["backbone"] == "resnet18" and v["height"] == 64 and v["width"] == 80 and v["batch"] == 2 and
    v["threads"] == 1 and v["precision"] == "fp32" and v["gmac"] > 0 and v["load_ms"] > 0 and v["peak_rss_mb"] > 1 and
    0 < v["median_ms"] <= v["p99_ms"] and abs(v["median_ms_per_image"] * 2 - v["median_ms"]) < 1e-6 * v["median_ms"]'
expect 0 bench --backbone resnet18 --size 64 --runs 1 --warmup 0
grep -q images/s out || fail "bench: $(cat out)"
expect 0 bench --backbone resnet18 --size 64 --threads 1 --runs 2 --warmup 0 --profile
grep -q "^layer2 .*fp32" out && grep -q "^peak of 1 threads" out || fail "bench --profile: $(cat out)"
expect 0 bench --backbone resnet18 --size 64 --threads 1 --batch 2 --runs 2 --warmup 0 --profile --json
cp out profile.json
json profile.json '[s["stage"] for s in v["profile"]["stages"]] == ["preprocess", "stem", "layer1", "layer2", "layer3",
    "head mixes", "lift and heads", "smooth"] and all(s["ms"] > 0 for s in v["profile"]["stages"]) and
    v["profile"]["peak"]["fp32_gmac_per_s"] > 0 and v["profile"]["peak"]["gb_per_s"] > 0 and
    v["gmac"] <= sum(s["gmac"] for s in v["profile"]["stages"]) < 1.5 * v["gmac"]'
bf16=(bench --backbone resnet18 --size 64 --runs 1 --warmup 0 --precision bf16)
if grep -qE "avx512_bf16|amx_bf16" /proc/cpuinfo 2>/dev/null; then
    expect 0 "${bf16[@]}"
    grep -q "threads, bf16$" out || fail "bench --precision bf16: $(cat out)"
fi

recipe=(--data data --size 64 --batch 4 --set hidden=64 --threads 1)
echo "train"
expect 0 train "${recipe[@]}" --epochs 3 --out m.blemish
grep -q "I-AUROC" out && grep -q "^model: m.blemish$" out || fail "train: $(cat out)"
[ "$(wc -l <m.blemish.csv)" = 4 ] || fail "the log has not one line an epoch: $(cat m.blemish.csv)"
[ ! -e m.blemish.checkpoint ] || fail "the checkpoint of a finished training is left"
grep -q "^train epoch" err || fail "train shows no progress: $(cat err)"
expect 0 train "${recipe[@]}" --epochs 3 --out quiet.blemish --quiet --no-eval
[ ! -s err ] && ! grep -q AUROC out || fail "train --quiet --no-eval: $(cat err out)"
expect 0 info m.blemish
cp out info.text
expect 0 info m.blemish --json
cp out info.json
json info.json 'v["height"] == 64 and v["width"] == 64 and v["regime"] == "supervised" and
    v["header"]["recipe"]["train"]["epochs"] == 3 and "i_auroc" in v["header"]["metrics"]'
python3 - <<'P' || fail "info: $(cat info.text)"
import json
lines = [line.split(maxsplit=1) for line in open("info.text")]
text = {line[0]: line[1].strip() for line in lines if len(line) == 2}
header = json.load(open("info.json"))["header"]
plain = {k: v for k, v in header.items() if not isinstance(v, dict) and v is not None}
assert len(plain) == 23 and ["metrics"] in lines and ["recipe"] in lines
for k, v in plain.items():
    assert text[k] == (v if isinstance(v, str) else json.dumps(v)), (k, v, text[k])
P

grep -q "^blemish: regime: supervised, by the labels: 4 of 10 labelled training images are defective, 4 of them with a mask$" err &&
    fail "--quiet train names the regime" # the last training was quiet
printf 'train:\n  epochs: 2\n  regime: unsupervised\n' >two.yaml
expect 0 train "${recipe[@]}" --recipe supervised --recipe two.yaml --recipe ablations/no-upscaling --set model.hidden=64 --out r.blemish
grep -q "^blemish: regime: unsupervised, by the recipe: 4 of 10" err || fail "the regime is not said: $(cat err)"
expect 0 info r.blemish --json
cp out info.json
json info.json 'v["regime"] == "unsupervised" and v["map_height"] == 8 and v["header"]["recipe"]["train"]["epochs"] == 2 and
    v["header"]["recipe"]["model"]["hidden"] == 64 and v["header"]["recipe"]["model"]["upscale"] == 0'
python3 -c 'import json; json.dump(json.load(open("info.json"))["header"]["recipe"], open("as-trained.yaml", "w"))'
expect 0 train --data data --threads 1 --recipe as-trained.yaml --out again.blemish
"$blemish" info again.blemish --json | sed 's/again.blemish/r.blemish/' | diff info.json - || fail "the recipe in the model file gives another model"
rm r.blemish again.blemish
expect 0 info m.blemish
grep -q "^  train.epochs  *3$" out || fail "info: $(cat out)"

echo "quantize"
expect 0 quantize m.blemish --data data --out m8.blemish --threads 1 --quiet
[ "$(wc -c <m8.blemish)" -lt $(($(wc -c <m.blemish) * 3 / 10)) ] || fail "the quantised model is too large"
expect 0 info m8.blemish
grep -q "^precision *int8$" out || fail "info does not show int8: $(cat out)"
expect 0 bench m8.blemish --runs 1 --warmup 0
grep -q "threads, int8$" out || fail "a quantised model does not run in int8: $(cat out)"
refuse 1 "model: found a quantised one" quantize m8.blemish --data data --out twice.blemish --quiet
[ ! -e twice.blemish ] || fail "a refused quantize wrote a file"

echo "interrupted training"
long=("${recipe[@]}" --epochs 60 --checkpoint-every 7)
expect 0 train "${long[@]}" --out whole.blemish
for signal in INT TERM; do
    "$blemish" train "${long[@]}" --out parts.blemish >out 2>err &
    for ((i = 0; i < 3000; i++)); do
        if [ -e parts.blemish.csv ] && [ "$(wc -l <parts.blemish.csv)" -gt 4 ]; then break; fi
        sleep 0.02
    done
    kill -$signal $! || fail "the training ended before it could be interrupted: $(cat err)"
    code=0 && wait $! || code=$?
    [ $code = 1 ] && grep -q "^blemish: interrupted.*parts.blemish.checkpoint.*--resume" err || fail "SIG$signal: $code $(cat err)"
    [ -s parts.blemish.checkpoint ] && [ ! -e parts.blemish ] || fail "SIG$signal: $(ls)"
    expect 0 train "${long[@]}" --out parts.blemish --resume
    cmp whole.blemish parts.blemish || fail "SIG$signal: the resumed training gives another model"
    rm parts.blemish parts.blemish.csv
done
expect 0 train "${recipe[@]}" --epochs 3 --out fresh.blemish --resume --quiet
grep -q "there is no checkpoint" err || fail "--resume without a checkpoint says nothing"
cmp m.blemish fresh.blemish || fail "the same training gives another model"

echo "eval"
expect 0 eval m.blemish --data data --csv scores.csv --gallery gallery.png
grep -q "AUPRO" out && grep -q "of 4 defects found" out || fail "eval: $(cat out)"
[ "$(wc -l <scores.csv)" = 9 ] || fail "eval --csv: $(cat scores.csv)"
[ "$(head -c 4 gallery.png | tail -c 3)" = PNG ] || fail "eval --gallery"
expect 0 eval m.blemish --data data --json --split train --quiet
cp out eval.json
json eval.json 'v["images"] == 10 and v["defects"] == 4 and 0 <= v["i_auroc"] <= 1 and 0 <= v["aupro"] <= 1 and
    sum(v["verdicts"].values()) == 10'
refuse 1 "/dev/full: No space left" eval m.blemish --data data --quiet --csv /dev/full
[ -c /dev/full ] || fail "a device was replaced by a file"
cp scores.csv before.csv
(
    trap '' XFSZ && ulimit -f 0 # no file may grow: a full disk
    ! "$blemish" eval m.blemish --data data --quiet --csv scores.csv >/dev/null 2>&1
) || fail "eval --csv succeeds without room"
cmp before.csv scores.csv && [ ! -e scores.csv.new ] || fail "eval --csv: half a file: $(ls)"
refuse 1 "no/g.png" eval m.blemish --data data --quiet --gallery no/g.png

echo "masks of another size"
"$blemish" synth square --size 64 --train-good 1 --train-defect 2 --test-good 1 --test-defect 1 --quiet
masks=($(find square/ground_truth -name '*.png'))
bad=($(find data/train data/test -name '*.png' -not -path '*/good/*' | sort))
good=($(find data/train data/test -path '*/good/*' -name '*.png' | sort))
{
    echo path,label,mask,split
    printf '%s,good,,train\n' "${good[0]}" "${good[1]}"
    printf '%s,defect,%s,train\n' "${bad[0]}" "${masks[0]}" "${bad[1]}" "${masks[1]}"
    printf '%s,good,,test\n%s,defect,%s,test\n' "${good[2]}" "${bad[2]}" "${masks[2]}"
} >sizes.csv
first=$(printf '%s\n' "${bad[@]:0:2}" | sort | head -1)
said="of another size than the image, resized; the first is square/.*.png of"
expect 0 train "${recipe[@]}" --data sizes.csv --epochs 1 --out sizes.blemish
grep -q "^blemish: train split: 2 masks $said $first$" err && grep -q "^blemish: test split: 1 mask $said ${bad[2]}$" err ||
    fail "train: $(cat err)"
expect 0 eval sizes.blemish --data sizes.csv
[ "$(grep -c "^blemish: .*$said" err)" = 1 ] && grep -q "^blemish: test split: 1 mask $said ${bad[2]}$" err || fail "eval: $(cat err)"
expect 0 eval sizes.blemish --data sizes.csv --quiet
[ ! -s err ] || fail "eval --quiet: $(cat err)"
expect 0 eval sizes.blemish --data data
! grep -q "of another size" err || fail "eval: $(cat err)"

echo "predict"
good=$(find data -path '*test/good/*' -name '*.png' | sort | head -1)
folder=$(dirname "$good")
mkdir odd
cp "$good" "odd/it's \"odd\".png"
cp "$good" odd/a.png
cp "$good" odd/a.PNG
cp "$good" odd/$'\xff.png'
touch odd/notes.txt odd/.hidden.png
expect 0 predict m.blemish odd "$good" "$folder/*.png" --overlays seen --maps seen --out p.jsonl
json p.jsonl 'set(v) == {"path", "score", "defect", "threshold", "map_max", "width", "height", "regions", "overlay", "map"}
    and 0 <= v["score"] <= 1 and v["defect"] == (v["score"] >= v["threshold"]) and (v["width"], v["height"]) == (80, 64)
    and all(set(r) == {"x", "y", "width", "height", "area", "peak", "centroid_x", "centroid_y"}
        and r["x"] <= r["centroid_x"] < r["x"] + r["width"] and r["y"] <= r["centroid_y"] < r["y"] + r["height"] and r["x"] + r["width"] <= 80 for r in v["regions"])'
[ "$(wc -l <p.jsonl)" = 9 ] && [ "$(ls seen | wc -l)" = 18 ] || fail "predict: $(cat p.jsonl; ls seen)"
head -1 p.jsonl | grep -q '^{"path":"odd/a.PNG"' || fail "a folder is not sorted: $(head -1 p.jsonl)"
expect 0 predict m.blemish "$good"
grep -F "\"$good\"" p.jsonl | sed 's/,"overlay.*/}/' | sort -u | diff - out || fail "the same image gives another result"

# The whole picture is one region of 80x64 less the border, until the least area is larger than that.
expect 0 predict m.blemish "$good" --pixel-threshold 0 --border 6
json out '[(r["x"], r["y"], r["width"], r["height"], r["area"], r["centroid_x"], r["centroid_y"]) for r in v["regions"]]
    == [(6, 6, 68, 52, 3536, 39.5, 31.5)]'
expect 0 predict m.blemish "$good" --pixel-threshold 0 --border 6 --min-area 3537
json out 'v["regions"] == []'
expect 1 predict m.blemish "$good" --border 32
grep -q "border: found 32 pixels, which leave nothing of 80x64" err || fail "a border that leaves nothing: $(cat err)"
expect 2 predict m.blemish "$good" --border -1
expect 2 predict m.blemish "$good" --min-area 268435457

head -c 200 "$good" >cut.png
mkdir empty
expect 1 predict m.blemish cut.png "$good" none.png '*.nothing' empty
cp out mixed.jsonl
json mixed.jsonl 'set(v) == {"path", "error"} or "score" in v'
[ "$(grep -c '"error"' mixed.jsonl)" = 4 ] && [ "$(wc -l <mixed.jsonl)" = 5 ] || fail "unreadable files: $(cat mixed.jsonl)"
[ "$(grep -c '^blemish: .*\(cut.png\|none.png\|nothing\|empty\)' err)" = 4 ] && [ "$(wc -l <err)" = 4 ] || fail "$(cat err)"

# Enough images for a session per thread: the same lines in the same order, whatever is done first.
mkdir many
mapfile -t pictures < <(find data -name '*.png' -path '*test*' | sort)
for ((i = 100; i < 230; i++)); do
    case $((i % 7)) in
    3) cp cut.png many/$i.png ;;
    5) cp -l "${pictures[i % ${#pictures[@]}]}" many/$i.PNG ;;
    *) cp -l "${pictures[i % ${#pictures[@]}]}" many/$i.png ;;
    esac
done
expect 1 predict m.blemish many none.png many/102.png --threads 1 --maps maps1 --out one.jsonl
cp err one.err
for threads in 2 3 6; do
    expect 1 predict m.blemish many none.png many/102.png --threads $threads --maps maps1 --out more.jsonl
    if [ $threads != 6 ]; then cmp one.jsonl more.jsonl; fi # with 6 a session has two threads, which may round otherwise
    [ "$(grep -o '"path":"[^"]*"' one.jsonl)" = "$(grep -o '"path":"[^"]*"' more.jsonl)" ] || fail "order: $(cat more.jsonl)"
    cmp one.err err || fail "messages: $(cat err)"
done
[ "$(wc -l <one.jsonl)" = 132 ] && [ "$(grep -c '"error"' one.jsonl)" = "$(wc -l <one.err)" ] || fail "$(cat one.err)"
grep -q 'maps1/102-2_map.tiff' one.jsonl || fail "the second of a name: $(tail -1 one.jsonl)"
code=0 && "$blemish" predict m.blemish many --threads 3 >/dev/full 2>err || code=$?
[ $code = 1 ] && [ "$(tail -1 err)" = "blemish: standard output: No space left on device" ] || fail "/dev/full: $code $(cat err)"

expect 3 predict m.blemish "$good" --fail-on-defect --threshold 0
expect 0 predict m.blemish "$good" --threshold 0
expect 0 predict m.blemish "$good" --fail-on-defect --threshold 1
expect 1 predict m.blemish "$good" cut.png --fail-on-defect --threshold 0
expect 0 predict m.blemish "$good" --pixel-threshold 0
cp out region.json
json region.json '[r["area"] for r in v["regions"]] == [64 * 80]'

refuse 1 "/dev/full: No space left on device" predict m.blemish "$good" --out /dev/full
code=0 && "$blemish" predict m.blemish "$good" "$good" >/dev/full 2>err || code=$?
[ $code = 1 ] && [ "$(cat err)" = "blemish: standard output: No space left on device" ] || fail "/dev/full: $code $(cat err)"
{ sleep 0.5 && "$blemish" predict m.blemish "$good" "$good" 2>err || echo $? >code; } | true # the reader is gone first
[ "$(cat code)" = 1 ] && [ "$(cat err)" = "blemish: standard output: Broken pipe" ] || fail "a closed pipe: $(cat code err)"
refuse 1 "m.blemish" predict m.blemish "$good" --overlays m.blemish

echo "interrupted eval and predict"
mkdir -p crowd/{train,test}/good
for ((i = 0; i < 5000; i++)); do cp -l "$good" crowd/test/good/$i.png; done
cp "$good" crowd/train/good
# stop FILE: interrupts the last background command when it has begun to write FILE, and waits for it.
stop() {
    for ((i = 0; i < 3000; i++)); do
        if [ -s "$1" ]; then break; fi
        sleep 0.02
    done
    kill -INT $! || fail "it ended before it could be interrupted: $(cat err)"
    code=0 && wait $! || code=$?
    [ $code = 1 ] || fail "SIGINT: $code $(cat err)"
}
rm err
"$blemish" eval m.blemish --data crowd --threads 1 --csv stopped.csv 2>err &
stop err # its progress
tail -1 err | grep -qx "blemish: interrupted; nothing is written" && [ ! -e stopped.csv ] || fail "eval: $(cat err)"
for threads in 1 3; do
    rm -f stopped.jsonl
    "$blemish" predict m.blemish crowd/test/good --threads $threads --out stopped.jsonl 2>err &
    stop stopped.jsonl
    [ "$(cat err)" = "blemish: interrupted; $(wc -l <stopped.jsonl) of 5000 images are done" ] || fail "predict: $(cat err)"
    json stopped.jsonl '"score" in v'
    diff <(find crowd/test/good -name '*.png' | LC_ALL=C sort | head -"$(wc -l <stopped.jsonl)") \
        <(grep -o '"path":"[^"]*"' stopped.jsonl | cut -d'"' -f4) ||
        fail "predict: an image between those that are done is missing"
done

echo "a damaged model"
size=$(stat -c %s m.blemish)
for length in 0 7 8 100 $((size / 2)) $((size - 1)); do
    head -c "$length" m.blemish >cut.blemish
    refuse 1 "cut.blemish" predict cut.blemish "$good"
    refuse 1 "cut.blemish" info cut.blemish
done
expect 0 bench m.blemish --runs 2 --json
echo "all well"
