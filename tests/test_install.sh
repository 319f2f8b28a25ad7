#!/usr/bin/env bash
# What is installed is enough for a stranger: pkg-config finds the library, examples/score.c builds against the public
# header alone and gives the same score as the library called from another program, and the command runs.
# Usage: test_install.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() {
    echo "$*" >&2
    exit 1
}

cmake --install "$build" --prefix "$work/usr" >install.log || fail "$(cat install.log)"
PKG_CONFIG_PATH=$(dirname "$(find usr -name blemish.pc)")
export PKG_CONFIG_PATH
[ "$(find usr/include -type f)" = usr/include/blemish/blemish.h ] || fail "more than the public header is installed"
library=$(find "$work/usr" -name libblemish.so)
exported=$(nm -D --defined-only "$library" | awk '$3 !~ /^blemish_/ { print $3 }')
[ -z "$exported" ] || fail "exported beside the public API:" $exported
flags=(-std=c17 -Wall -Wextra -Werror)
if nm -D "$library" | grep __asan_init >/dev/null; then flags+=(-fsanitize=address,undefined); fi
compile() { "${CC:-cc}" "${flags[@]}" "$1.c" -o "$1" $(pkg-config --cflags --libs blemish) "-Wl,-rpath,$(dirname "$library")"; }

# Shipped recipes are found beside the installed command.
"$work"/usr/bin/blemish train --data none --out m --recipe supervised --set epochs=0 2>error || true
grep -q "train.epochs: found '0'" error || fail "the installed recipes are not found: $(cat error)"
[ -s "$(find usr -path '*share/blemish/recipes/ablations/icpr.yaml')" ] || fail "recipes are not installed"

# A model with test weights and a picture, and the score that the library gives for it.
cat >make.c <<'C'
#include <blemish/blemish.h>
#include <stdio.h>
int main(void) {
    static uint8_t pixels[70 * 90 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i % 251);
    BlemishImage image = {pixels, 90, 70, 270, 3};
    BlemishModel *model;
    BlemishSession *session;
    BlemishResult result;
    if (blemish_model_untrained(&model, "resnet18", NULL, 64, 64) || blemish_model_save(model, "model.blemish")) return 1;
    if (blemish_session_open(&session, model, NULL)) return 2;
    if (blemish_session_run(session, &image, 1, &result)) return 3;
    if (blemish_session_write_overlay(session, &image, &result, "picture.png")) return 4;
    if (blemish_session_run_file(session, "picture.png", &result)) return 5;
    printf("picture.png: score %.4f, %s\n", (double)result.score, result.defect ? "defect" : "good");
    blemish_session_close(session);
    blemish_model_close(model);
    return 0;
}
C
compile make
cp "$source/examples/score.c" .
compile score
expected=$(./make)
found=$(./score model.blemish picture.png)
[ "$found" = "$expected" ] || fail "score: found '$found', expected '$expected'"

# A user's mistakes give one line and a failure.
code=0 && ./score missing.blemish picture.png 2>error || code=$?
[ $code = 1 ] && [ "$(wc -l <error)" = 1 ] && grep -q missing.blemish error || fail "missing model: $code: $(cat error)"
code=0 && ./score model.blemish model.blemish 2>error || code=$?
[ $code = 1 ] && [ "$(wc -l <error)" = 1 ] || fail "a model for an image: $code: $(cat error)"

# The built-in backbone needs no file beside the library, and is a program's default.
cat >builtin.c <<'C'
#include <blemish/blemish.h>
#include <stdio.h>
int main(void) {
    BlemishTrainSettings settings;
    BlemishModel *model;
    blemish_train_defaults(&settings);
    if (blemish_model_untrained(&model, settings.backbone, NULL, 64, 64)) return 1;
    puts(blemish_model_info(model).backbone);
    blemish_model_close(model);
    return 0;
}
C
compile builtin
[ "$(HOME=$work ./builtin)" = builtin ] || fail "the built-in backbone"
[ -z "$(find usr -name '*.safetensors')" ] || fail "weights are installed beside the library"

# The build has the library's sources in hand; a moved installation has not.
mv usr moved
[ "$(moved/bin/blemish --version)" = "blemish $(PKG_CONFIG_PATH=${PKG_CONFIG_PATH/#usr/moved} pkg-config --modversion blemish)" ] ||
    fail "the moved command does not run"
