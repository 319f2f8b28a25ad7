# What scripts that test the command share: `. helper_command.sh BUILD_FOLDER SOURCE_FOLDER` goes into a folder of its
# own, which is removed at the end, and sets build, source, blemish and work.
build=$(cd "$1" && pwd) source=$(cd "$2" && pwd)
blemish=$build/blemish
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
unset TERM

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect CODE ARGUMENT...: runs blemish and checks its exit status.
expect() {
    local code=0 wanted=$1
    shift
    "$blemish" "$@" >out 2>err || code=$?
    [ $code = "$wanted" ] || fail "blemish $*: exit status $code, expected $wanted: $(cat err)"
}

# refuse CODE PATTERN ARGUMENT...: the same, and stderr is one line "blemish: ..." that matches the pattern.
refuse() {
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$@"
    [ "$(wc -l <err)" = 1 ] && grep -q "^blemish: .*$pattern" err || fail "blemish $*: found '$(cat err)', expected '$pattern'"
}

# interrupt PATTERN ARGUMENT...: runs blemish, sends SIGINT once stderr has a line that matches the pattern, and leaves
# the exit status in code.
interrupt() {
    local pattern=$1
    shift
    : >err
    "$blemish" "$@" >out 2>err &
    for _ in {1..1200}; do
        grep -q "$pattern" err && break
        sleep 0.05
    done
    kill -INT $!
    code=0 && wait $! || code=$?
}
