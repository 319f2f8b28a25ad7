#!/usr/bin/env bash
# The report in headless Chromium, where that and Python's playwright are installed.
# Usage: test_report_browser.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
blemish=$(cd "$1" && pwd)/blemish
source=$(cd "$2" && pwd)
if ! command -v chromium >/dev/null || ! python3 -c 'import playwright' 2>/dev/null; then
    echo "skipped: needs chromium (apt-get install chromium) and playwright (pip install playwright)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$blemish" synth data --size 64 --train-good 6 --train-defect 4 --test-good 9 --test-defect 8 --quiet
"$blemish" train --data data --out m.blemish --set size=64 --set hidden=64 --set batch=6 \
    --set epochs=1 --threads 1 --quiet --no-eval >out
"$blemish" eval m.blemish --data data --report all --quiet >out
"$blemish" eval m.blemish --data data --report few --report-images 7 --quiet >out
python3 "$source/tests/report_browser.py" all
python3 "$source/tests/report_browser.py" few
