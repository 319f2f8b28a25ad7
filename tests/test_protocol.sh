#!/usr/bin/env bash
# blemish protocol on two tiny made sets: the tables are the means and deviations of the runs' metrics as Python has them,
# an interrupted and continued protocol gives the same tables, finished runs are not done again and others are.
# Usage: test_protocol.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

finished() { find "$1" -name metrics.json 2>/dev/null | wc -l || true; }

echo "usage"
refuse 2 "found 0 operands, expected RECIPE" protocol --data d --out o
refuse 2 "--seeds: found '0'" protocol mvtec --data d --out o --seeds 0
refuse 2 "--mask-ratios: found '1.5', expected numbers from 0 to 1" protocol mvtec --data d --out o --mask-ratios 0,1.5
refuse 2 "--mask-ratios: found '0,,1', expected words and commas" protocol mvtec --data d --out o --mask-ratios 0,,1
refuse 2 "--mask-counts: found '1.5', expected whole numbers" protocol mvtec --data d --out o --mask-counts 1.5
refuse 2 "--mask-counts: found --mask-ratios too" protocol mvtec --data d --out o --mask-counts 1 --mask-ratios 1
refuse 2 "--folds: found 'x'" protocol mvtec --data d --out o --folds x
refuse 2 "--categories: found a twice" protocol mvtec --data d --out o --categories a,b,a
refuse 2 "unknown key 'train.epoch'; the nearest is 'train.epochs'" protocol mvtec --data d --out o --set train.epoch=1
refuse 1 "recipe mvtce: .*did you mean mvtec?" protocol mvtce --data d --out o
refuse 1 "recipe ablations/nothing: found neither" protocol mvtec --data d --out o --ablations nothing
printf 'train:\n  epochs: 0\n' >bad.yaml
refuse 1 "bad.yaml:2: train.epochs: found '0'" protocol bad.yaml --data d --out o
refuse 1 "bad.yaml:2: train.epochs: found '0'" protocol mvtec --recipe bad.yaml --data d --out o
refuse 2 "--layout: found 'visual', expected auto|mvtec" protocol mvtec --data d --out o --layout visual
refuse 1 "nowhere: " protocol mvtec --data nowhere --out o
"$blemish" synth one --quiet --size 64 --train-good 2 --train-defect 1 --test-good 1 --test-defect 1
refuse 1 "nothing: " protocol mvtec --data one --out o --categories nothing
refuse 1 "none.pth: No such file or directory" protocol mvtec --data one --out o --backbone resnet18 --weights none.pth
export HOME=$work BLEMISH_WEIGHTS=$work/weights
refuse 1 "wide_resnet50_2: found no weights in $work" protocol mvtec --data one --out o --backbones builtin,wide_resnet50_2
refuse 2 "--backbones: backbone: found 'vgg', expected one of .*builtin" protocol mvtec --data one --out o --backbones vgg
refuse 2 "--backbones: found builtin twice" protocol mvtec --data one --out o --backbones builtin,resnet18,builtin
refuse 2 "--backbones: found ''" protocol mvtec --data one --out o --backbones ''
refuse 2 "--weights: found a file for 2 backbones" protocol mvtec --data one --out o --backbones resnet18,resnet34 --weights mvtec.yaml
refuse 2 "--weights: builtin has weights of its own" protocol mvtec --data one --out o --weights mvtec.yaml
rm -r one
[ ! -e o ] || fail "a refused command line made the output folder"

for category in bottle cable; do
    "$blemish" synth sets/$category --quiet --size 64x80 --train-good 6 --train-defect 4 --test-good 4 --test-defect 4 \
        --seed ${#category}
done
mkdir sets/notes # no data set
# The published rows belong to recipes of this name.
printf 'train:\n  regime: supervised\n  batch: 4\nmodel:\n  size: 64\n  hidden: 64\n' >mvtec.yaml
common=(--data sets --threads 1 --set epochs=3)
case=(mvtec.yaml "${common[@]}" --seeds 2 --mask-ratios 0,1 --ablations no-classification)

echo "a whole protocol"
expect 0 protocol "${case[@]}" --out whole --keep-models
[ "$(finished whole)" = 16 ] && [ "$(find whole/runs -name model.blemish | wc -l)" = 16 ] || fail "$(find whole)"
[ "$(find whole/runs -name checkpoint | wc -l)" = 0 ] || fail "a checkpoint is left"
[ "$(find whole -name '*.new' | wc -l)" = 0 ] || fail "a temporary file is left"
diff whole/results.md out || fail "the table is not printed"
cat >check.py <<'P'
"""The three tables against the runs' own files."""
import csv, glob, json, math, statistics, sys

folder = sys.argv[1]
keys = ["i_auroc", "ap_det", "p_auroc", "aupro", "seg_i_auroc"]
runs = [json.load(open(p)) for p in glob.glob(folder + "/runs/*/metrics.json")]
values = {}  # (category, masks, recipe) -> seed -> list over folds
for run in runs:
    i = run["identity"]
    recipe = "base" if i["recipe"]["model.classification"] == "1" else "no-classification"
    for category in (i["category"], "mean"):
        seeds = values.setdefault((category, i["masks"], recipe), {})
        seeds.setdefault(i["recipe"]["train.seed"], []).append([run["metrics"][k] for k in keys])
rows = json.load(open(folder + "/results.json"))["rows"]
ours = {(r["category"], r["masks"], r["recipe"]): r for r in rows if r["source"] == "blemish"}
assert ours.keys() == values.keys() and len(ours) == 12, ours.keys()
table = list(csv.DictReader(open(folder + "/results.csv")))
lines = [[c.strip() for c in line.split("|")[1:-1]] for line in open(folder + "/results.md") if line.startswith("| ")]
for name, seeds in values.items():
    row = ours[name]
    assert row["seeds"] == len(seeds) == 2
    in_csv = [r for r in table if (r["category"], r["masks"], r["recipe"], r["source"]) == (*name, "blemish")]
    in_md = [l for l in lines if tuple(l[:4]) == (*name, "builtin")]
    assert row["backbone"] == in_csv[0]["backbone"] == "builtin"
    assert len(in_csv) == len(in_md) == 1, name
    for k, key in enumerate(keys):
        figures = [statistics.fmean(v[k] for v in folds) for folds in seeds.values()]
        mean, std = statistics.fmean(figures), statistics.stdev(figures)
        # Sums of at most four doubles near 1, written with 17 digits, and with 9 in CSV.
        assert math.isclose(row[key]["mean"], mean, abs_tol=1e-14), (name, key, row[key], mean)
        assert math.isclose(row[key]["std"], std, abs_tol=1e-14), (name, key, row[key], std)
        assert math.isclose(float(in_csv[0][key + "_mean"]), mean, abs_tol=1e-9)
        assert math.isclose(float(in_csv[0][key + "_std"]), std, abs_tol=1e-9)
        shown = [float(x) / 100 for x in in_md[0][5 + k].split("±")]
        assert abs(shown[0] - mean) <= 0.000501 and abs(shown[1] - std) <= 0.000501, (name, in_md)
# The papers' figures stand beside the base recipe with all masks, and are called published.
published = [r for r in rows if r["source"] != "blemish"]
assert all(r["source"].startswith("published") and r["masks"] == "all" and r["recipe"] == "base" for r in published)
assert [(r["category"], round(100 * r["i_auroc"]["mean"], 6), r["i_auroc"]["std"]) for r in published] == [
    ("bottle", 100.0, None), ("cable", 98.1, None), ("mean", 98.4, None), ("mean", 98.3, None)], published
assert all(r["backbone"] == "wide_resnet50_2" for r in published)
assert published[3]["aupro"]["mean"] is None and len(table) == len(rows) == len(lines) - 1 == 16
# Without a classification head the score is the map's maximum.
for (category, masks, recipe), row in ours.items():
    if recipe == "no-classification": assert row["i_auroc"] == row["seg_i_auroc"]
assert any(ours[k]["i_auroc"] != ours[k]["seg_i_auroc"] for k in ours if k[2] == "base")
# The masks that are kept matter, the seeds too.
assert ours["mean", "0 %", "base"]["p_auroc"] != ours["mean", "all", "base"]["p_auroc"]
assert any(r["p_auroc"]["std"] > 0 for r in ours.values())
P
python3 check.py whole || fail "the tables"

echo "finished runs are left alone"
touch -d '2001-01-01' whole/runs/*/metrics.json
expect 0 protocol "${case[@]}" --out whole
[ -z "$(find whole/runs -name metrics.json -newermt 2002-01-01)" ] || fail "a finished run was done again"
python3 check.py whole || fail "the tables of finished runs"
echo '{"identity": {}, "metrics"' >"whole/runs/bottle-all-base-builtin-fold0-seed1/metrics.json" # a file that was damaged
expect 0 protocol "${case[@]}" --out whole
[ "$(find whole/runs -name metrics.json -newermt 2002-01-01 | wc -l)" = 1 ] || fail "not the damaged run alone was done"
python3 check.py whole || fail "the tables after a repair"

echo "interrupted and continued"
for ((round = 0; round < 60; round++)); do
    before=$(finished parts)
    "$blemish" protocol "${case[@]}" --out parts >out 2>err &
    for ((i = 0; i < 6000; i++)); do # one run more, or the end
        if [ "$(finished parts)" -gt "$((before + round % 2))" ] || ! kill -0 $! 2>/dev/null; then break; fi
        sleep 0.02
    done
    sleep "0.$((round % 4))" # and somewhere in the next: in its features, its training or its evaluation
    kill -INT $! 2>/dev/null || true
    code=0 && wait $! || code=$?
    [ $code = 0 ] && break
    [ $code = 1 ] && grep -q "^blemish: interrupted; [0-9]* of 16 runs are done, the same command continues" err || fail "$code: $(cat err)"
done
[ $code = 0 ] && [ $round -gt 2 ] || fail "after $round rounds: $code"
for file in results.md results.csv results.json; do diff whole/$file parts/$file || fail "$file of the interrupted protocol"; done

echo "another recipe is another run"
one=(mvtec.yaml "${common[@]}" --categories bottle --seeds 1)
expect 0 protocol "${one[@]}" --out one
cp one/results.csv first.csv
expect 0 protocol "${one[@]}" --out one --set adaptor_lr=0.01
! cmp -s first.csv one/results.csv || fail "the results of another recipe were taken"
expect 0 protocol "${one[@]}" --out one --quiet
cmp first.csv one/results.csv || fail "the first recipe's results are not made again"
[ ! -s err ] || fail "--quiet: $(cat err)"
# An interrupted run of another recipe is not continued either.
"$blemish" protocol "${one[@]}" --out other --set epochs=2000 >out 2>err &
for ((i = 0; i < 6000; i++)); do
    if [ -e other/runs/bottle-all-base-builtin-fold0-seed0/losses.csv ] && [ "$(wc -l <other/runs/bottle-all-base-builtin-fold0-seed0/losses.csv)" -gt 3 ]; then break; fi
    sleep 0.02
done
kill -TERM $! || fail "the long run ended: $(cat err)"
code=0 && wait $! || code=$?
[ $code = 1 ] && [ -s other/runs/bottle-all-base-builtin-fold0-seed0/checkpoint ] || fail "$code: $(cat err)"
expect 0 protocol "${one[@]}" --out other
cmp first.csv other/results.csv || fail "an interrupted run of another recipe left something"

echo "backbones side by side"
mkdir weights
cp "$source/models/builtin.safetensors" weights/resnet18.safetensors
expect 0 protocol "${one[@]}" --backbones builtin,resnet18 --set epochs=1 --out sides
[ "$(cut -d, -f1-4 sides/results.csv | xargs)" = "category,masks,recipe,backbone bottle,all,base,builtin bottle,all,base,resnet18 \
bottle,all,base,wide_resnet50_2" ] || fail "the rows: $(cat sides/results.csv)"
# The two are the same network by two names.
[ "$(sed -n 2p sides/results.csv | cut -d, -f6-)" = "$(sed -n 3p sides/results.csv | cut -d, -f6-)" ] || fail "$(cat sides/results.csv)"
touch -d '2001-01-01' sides/runs/*/metrics.json
expect 0 protocol "${one[@]}" --backbones builtin,resnet18 --set epochs=1 --out sides
[ -z "$(find sides/runs -name metrics.json -newermt 2002-01-01)" ] || fail "a finished run was done again"
# Another build's builtin is another backbone.
sed -i '/"weights"/s/: "[0-9a-f]\{8\}/: "00000000/' sides/runs/bottle-all-base-builtin-fold0-seed0/metrics.json
expect 0 protocol "${one[@]}" --backbones builtin,resnet18 --set epochs=1 --out sides
[ "$(find sides/runs -name metrics.json -newermt 2002-01-01)" = sides/runs/bottle-all-base-builtin-fold0-seed0/metrics.json ] ||
    fail "not builtin alone was done again"

echo "one set without categories"
expect 0 protocol mvtec.yaml "${common[@]}" --data sets/cable --seeds 1 --out single
grep -q '^| cable | all | base | builtin | 1 | [0-9.]* |' single/results.md || fail "$(cat single/results.md)"
[ "$(grep -c '^| ' single/results.md)" = 2 ] || fail "a mean of one: $(cat single/results.md)"

echo "folds and mask counts as published"
python3 - <<'P'
"""The made images again, as SensumSODF and as KolektorSDD2 with their pickles."""
import glob, os, pickle, shutil

good = sorted(glob.glob("sets/*/*/good/*.png"))
defects = sorted(p for p in glob.glob("sets/*/t*/*/*.png") if "/good/" not in p)
mask = lambda p: glob.glob(f"{p.split('/t')[0]}/ground_truth/*/{os.path.basename(p)[:-4]}_mask.png")[0]


def put(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(source, target)


def dump(value, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    pickle.dump(value, open(target, "wb"))


for i in range(6):
    put(good[i], f"sodf/capsule/negative/data/{i:03d}.png")
    put(defects[i], f"sodf/capsule/positive/data/{i:03d}.png")
    put(mask(defects[i]), f"sodf/capsule/positive/annotation/{i:03d}.png")
for fold in range(3):
    train, test = [i for i in range(6) if i % 3 != fold], [i for i in range(6) if i % 3 == fold]
    lists = f"sodf/sensum_splits/capsule/{fold}/"
    for masks in (0, 100): dump([(i, masks > 0) for i in train], f"{lists}train/pos_{masks}.pckl")
    dump([(i, True) for i in train], lists + "train/neg.pckl")
    for name in ("neg", "pos"): dump([(i, True) for i in test], f"{lists}test/{name}.pckl")
black = "black.png"
from struct import pack
from zlib import compress, crc32
chunk = lambda name, data: pack(">I", len(data)) + name + data + pack(">I", crc32(name + data))
open(black, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", pack(">IIBBBBB", 80, 64, 8, 0, 0, 0, 0)) +
                        chunk(b"IDAT", compress(bytes(81 * 64))) + chunk(b"IEND", b""))
for i in range(4):
    for split, first in (("train", 0), ("test", 4)):
        number = (10000 if split == "train" else 20000) + 2 * i
        put(good[first + i], f"ksdd2/{split}/{number}.png")
        put(black, f"ksdd2/{split}/{number}_GT.png")
        put(defects[first + i], f"ksdd2/{split}/{number + 1}.png")
        put(mask(defects[first + i]), f"ksdd2/{split}/{number + 1}_GT.png")
for masks in (0, 2):
    pairs = [(10000 + i, i % 2 == 0 or i < 2 * masks) for i in range(8)]
    dump((pairs, [(20000 + i, True) for i in range(8)]), f"ksdd2/split_weakly_{masks}.pyb")
P
expect 0 protocol mvtec.yaml "${common[@]}" --data sodf --set epochs=1 --seeds 1 --folds 0,1,2 --mask-ratios 0,1 --out sodf.out
[ "$(finished sodf.out)" = 6 ] && grep -q '^| sodf | 0 % | base | builtin | 1 | [0-9]' sodf.out/results.md || fail "$(cat sodf.out/results.md)"
expect 0 protocol mvtec.yaml "${common[@]}" --data ksdd2 --set epochs=1 --seeds 1 --mask-counts 0,2 --out ksdd2.out
[ "$(finished ksdd2.out)" = 2 ] && grep -q '^| ksdd2 | 2 | base | builtin | 1 | [0-9]' ksdd2.out/results.md || fail "$(cat ksdd2.out/results.md)"
echo torn >sodf/sensum_splits/capsule/1/test/pos.pckl
expect 1 protocol mvtec.yaml "${common[@]}" --data sodf --set epochs=1 --seeds 1 --folds 0,1,2 --mask-ratios 1 --out torn.out --quiet
grep -q "sensum_splits/capsule/1/test/pos.pckl: pickle: " err || fail "$(cat err)"

echo "failures"
cp -r sets broken
for image in broken/bottle/train/good/*.png; do echo "no image" >"$image"; done
expect 1 protocol mvtec.yaml "${common[@]}" --data broken --seeds 1 --out broken.out --quiet
grep -q "bottle/train/good/.*png" err && grep -q "1 of 2 runs failed; the same command tries them again" err || fail "$(cat err)"
grep -q '^| bottle | all | base | builtin | 0 | - |' broken.out/results.md && grep -q '^| cable | all | base | builtin | 1 | [0-9]' broken.out/results.md ||
    fail "$(cat broken.out/results.md)"
echo x >file
refuse 1 "file/runs: Not a directory" protocol mvtec.yaml "${common[@]}" --out file --quiet
refuse 1 "no/where: No such file" protocol mvtec.yaml "${common[@]}" --out no/where --quiet
echo "all well"
