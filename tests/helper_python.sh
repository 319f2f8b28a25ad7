# What scripts that load the library into Python share: `. helper_python.sh BUILD_FOLDER MODULES` skips the test where
# python3 lacks the modules (as import names them) or cannot load the library, and exports BLEMISH_LIBRARY.
python3 -c "import $2" 2>/dev/null || { echo "skipped: python3 cannot import $2"; exit 77; }
export BLEMISH_LIBRARY=$1/libblemish.so PYTHONDONTWRITEBYTECODE=1
if [[ $(ldd "$BLEMISH_LIBRARY") == *libasan* ]]; then
    echo "skipped: a sanitized library cannot be loaded into python3"
    exit 77
fi
