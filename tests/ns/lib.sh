# shellcheck shell=bash
# Common to the suites 20-ns-*: a busybox root file system, one bundle per check, TAP.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$top/build}
nsrun=$(cd "$BUILD" && pwd)/tests/ns/nsrun
if [ ! -x "$nsrun" ] || [ "$(id -u)" != 0 ]; then
	echo "ok 1 - ns tier # SKIP needs root and $nsrun"
	exit 0
fi
work=$(mktemp -d /tmp/nsroom.XXXXXX)
cleanup() {
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
root=$work/rootfs
mkdir -p "$root"/{bin,etc,tmp,root,home/user,data}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in sh ls cat id mount ps true false echo sleep hostname touch mkdir rm stat readlink env tty kill grep ln head wc pwd test; do
	ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$root/etc/passwd"
chmod 755 "$work"
"$nsrun" --spec | jq --arg root "$root" '.root.path=$root | .process.terminal=false' >"$work/base.json"

count=0
bundle=$work/bundle
# spec FILTER [COMMAND]: a bundle with the default configuration changed by a jq filter; the command runs in the container's shell.
spec() {
	mkdir -p "$bundle"
	jq --arg cmd "${2:-true}" --arg work "$work" ".process.args=[\"/bin/sh\",\"-c\",\$cmd] | $1" "$work/base.json" >"$bundle/config.json"
}
# run: output (both streams) in $out, status in $rc
run() {
	out=$("$@" 2>&1 </dev/null)
	rc=$?
}
result() {
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		printf '%s\n' "status $rc, output:" "$out" | sed 's/^/#   /'
	fi
}
# check NAME FILTER COMMAND EXPECTED: runs and compares the whole output.
check() {
	spec "$2" "$3"
	run "$nsrun" "$bundle"
	[ "$out" = "$4" ]
	result $? "$1"
}
# has NAME FILTER COMMAND PATTERN: the output matches the extended regular expression.
has() {
	spec "$2" "$3"
	run "$nsrun" "$bundle"
	printf '%s\n' "$out" | grep -qE -- "$4"
	result $? "$1"
}
# refuses NAME FILTER COMMAND PATTERN: an error of the runtime that matches.
refuses() {
	spec "$2" "$3"
	run "$nsrun" "$bundle"
	[ "$rc" = 125 ] && printf '%s\n' "$out" | grep -qE -- "$4"
	result $? "$1"
}
finish() {
	echo "1..$count"
}
