#!/usr/bin/env bash
# The house rules of docs/architecture.md: a folder of src includes only from folders above it in the list, the command
# sees nothing but the public header, that header compiles alone as C and as C++, and a file stays one idea long.
# Usage: test_layers.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
cd "$2"
layers=(base image store data engine net train infer metric api cli)
longest=500

# Prints one line for each rule that the tree under $1 breaks.
violations() {
    local allowed=blemish layer file included folder
    for layer in "${layers[@]}"; do
        [ "$layer" = cli ] && allowed=blemish
        allowed="$allowed $layer"
        for file in "$1/src/$layer"/*.[ch]; do
            [ -e "$file" ] || continue
            while read -r included; do
                folder=${included%/*}
                [ "$folder" != "$included" ] || folder=$layer # without a folder: a neighbour
                case " $allowed " in
                *" $folder "*) ;;
                *) echo "$file: include: found \"$included\", expected a header of: $allowed" ;;
                esac
            done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]+)".*/\1/p' "$file")
        done
    done
    for folder in "$1"/src/*/; do
        folder=$(basename "$folder")
        case " ${layers[*]} " in
        *" $folder "*) ;;
        *) echo "$1/src/$folder: folder: expected one of: ${layers[*]}" ;;
        esac
    done
    while read -r file; do
        local lines
        lines=$(wc -l <"$file")
        [ "$lines" -lt $longest ] || echo "$file: length: found $lines lines, expected fewer than $longest"
    done < <(find "$1/src" -name '*.[ch]') # the public header is one file by design
}

found=$(violations .)
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi

# The checker itself: a tree with one breach of each kind must give exactly one line for each.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/src/{base,net,api,cli,attic} "$work/include"
echo '#include "net/net.h"' >"$work/src/base/upward.c"
echo '  #  include "base/base.h"' >"$work/src/cli/internal.c"
printf '#include "base/base.h"\n#include "own.h"\n#include "blemish/blemish.h"\n#include <stdio.h>\n' >"$work/src/net/fine.c"
seq $longest | sed "s,.*,;," >"$work/src/api/long.c"
found=$(violations "$work")
for breach in base/upward.c cli/internal.c src/attic api/long.c; do
    if [ "$(grep -c "$breach" <<<"$found")" != 1 ]; then
        echo "the checker missed $breach: $found"
        exit 1
    fi
done
[ "$(wc -l <<<"$found")" = 4 ] || { echo "the checker saw too much: $found"; exit 1; }

echo '#include <blemish/blemish.h>' >"$work/alone.c"
cp "$work/alone.c" "$work/alone.cc"
"${CC:-cc}" -std=c99 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -Iinclude -fsyntax-only "$work/alone.c"
"${CXX:-c++}" -std=c++11 -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only "$work/alone.cc"
