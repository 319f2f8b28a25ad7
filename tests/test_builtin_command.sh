#!/usr/bin/env bash
# The backbone that comes with the program: training, judging and predicting with no network, no weights and an empty
# home, and what its name is refused with.
# Usage: test_builtin_command.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
. "$(dirname "$0")/helper_command.sh" "$1" "$2"

mkdir home
chmod a-w home
export HOME=$work/home http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
unset BLEMISH_WEIGHTS XDG_CACHE_HOME
tiny=(--set size=64 --set hidden=64 --set epochs=1 --set batch=4 --threads 1 --quiet)

echo "alone"
alone=("$blemish")
if unshare -rn true 2>/dev/null; then alone=(unshare -rn "$blemish"); else echo "no namespace without a network: a dead proxy instead"; fi
"${alone[@]}" synth data --size 64 --train-good 6 --train-defect 3 --test-good 3 --test-defect 3 --quiet
"${alone[@]}" train --data data --out m.blemish "${tiny[@]}" >out
grep -q "I-AUROC" out || fail "train: $(cat out)"
"${alone[@]}" predict m.blemish data/test/good/*.png >out
[ "$(wc -l <out)" = 3 ] || fail "predict: $(cat out)"
[ -z "$(ls -A home)" ] || fail "the home is not empty: $(ls -A home)"

echo "what made it is recorded"
checksum=$(sha256sum "$source/models/builtin.safetensors")
checksum=${checksum%% *}
expect 0 info m.blemish
grep -qx "backbone  *builtin" out && grep -qx "weights_sha256  *$checksum" out || fail "info: $(cat out)"
expect 0 weights list
grep -A 1 -x "builtin  *compiled in" out | grep -qx "  sha256  $checksum" || fail "weights list: $(cat out)"

echo "every command's default"
expect 0 bench --size 64 --threads 1 --runs 1 --warmup 0
grep -q "^builtin 64x64, " out || fail "bench: $(cat out)"
expect 0 audit --data data --out disputed --folds 2 --overlays 0 "${tiny[@]}"
expect 0 protocol unsupervised --data data --out table --seeds 1 "${tiny[@]}"
grep -q '^| data | all | base | builtin | 1 | [0-9.]* |' table/results.md || fail "protocol: $(cat table/results.md)"

echo "refusals"
weights=$source/models/builtin.safetensors
refuse 1 "builtin.safetensors: backbone: found builtin, whose weights are compiled in, expected the file's own, such as resnet18" \
    train --data data --out x.blemish --weights "$weights" "${tiny[@]}"
refuse 1 "backbone: found builtin, whose weights are compiled in" bench --weights "$weights"
refuse 1 "backbone: found builtin, whose weights are compiled in" audit --data data --out y --weights "$weights" "${tiny[@]}"
refuse 1 "wide_resnet50_2: found no weights in .*; blemish weights fetch wide_resnet50_2 downloads them" \
    train --data data --out x.blemish --backbone wide_resnet50_2 "${tiny[@]}"
refuse 2 "--backbone: found 'built-in', expected builtin|wide_resnet50_2|" bench --backbone built-in
refuse 1 "builtin: its weights are compiled in, there is nothing to fetch" weights fetch builtin
refuse 1 "backbone: found builtin, whose weights are compiled in" weights import "$weights" --backbone builtin
[ ! -e x.blemish ] || fail "a refused training wrote a model"
echo "all well"
