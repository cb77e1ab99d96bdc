# shellcheck shell=bash
# What the suites of the store share: a scratch folder, a registry, proxies, TAP. Sourced; everything is stopped at exit.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
tierce_bin=$BUILD/tierce
work=$(mktemp -d "${TMPDIR:-/tmp}/tierce-store.XXXXXX")
pids=()
n=0 failed=0
export XDG_RUNTIME_DIR=$work/run HOME=$work/home REGISTRY_AUTH_FILE=$work/auth.json
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
mkdir -p "$XDG_RUNTIME_DIR" "$HOME"

# shellcheck disable=SC2317
finish() {
	local p m
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	# only what lies below our own folder
	while read -r m; do umount -l "$m" 2>/dev/null; done < <(awk -v w="$work/" 'index($5, w) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
	rm -rf "$work"
}
trap finish EXIT

ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); failed=1; echo "not ok $n - $1"; sed 's/^/# /' "$work/out" 2>/dev/null | cut -c -300 | head -20; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
# check NAME COMMAND...: succeeds.   refuse NAME TEXT COMMAND...: fails with one error line that holds TEXT (an extended regular expression).
check() { local name=$1; shift; if "$@" >"$work/out" 2>&1; then ok "$name"; else not_ok "$name"; fi; }
refuse() {
	local name=$1 text=$2; shift 2
	if "$@" >"$work/out" 2>&1; then not_ok "$name (it succeeded)"; return; fi
	if [ "$(grep -c '^Error: ' "$work/out")" = 1 ] && grep -E '^Error: ' "$work/out" | grep -qE "$text"; then ok "$name"; else not_ok "$name"; fi
}
same() { local name=$1; if [ "$2" = "$3" ]; then ok "$name"; else printf 'want: %s\ngot:  %s\n' "$3" "$2" >"$work/out"; not_ok "$name"; fi; }
finish_tap() { echo "1..$n"; exit $failed; }

T() { "$tierce_bin" --root "$work/${STORE:-store}" "$@"; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_port() { local i; for ((i = 0; i < 600; i++)); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0; sleep 0.05; done; echo "Bail out! nothing listens on $1"; exit 1; }

# (REGISTRY_* in the environment would be taken for settings of the registry.)
# registry NAME [yaml lines]: starts docker-registry; sets port_NAME
registry() {
	local name=$1 port; shift
	port=$(free_port)
	{ printf 'version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp:\n  addr: 127.0.0.1:%s\n' "$work/reg-$name" "$port"
	printf '%s\n' "$@"; } >"$work/$name.yml"
	env -u REGISTRY_AUTH_FILE docker-registry serve "$work/$name.yml" >"$work/$name.reg.log" 2>&1 &
	pids+=($!)
	wait_port "$port"
	eval "port_$name=$port"
}
# proxy NAME UPSTREAM MODE...: sets port_NAME, log in $work/NAME.log
proxy() {
	local name=$1 up=$2 port; shift 2
	port=$(free_port)
	: >"$work/$name.log"
	"$top/tests/store/faultproxy" "$port" "$up" "$work/$name.log" "$@" >/dev/null 2>"$work/$name.err" &
	pids+=($!)
	wait_port "$port"
	eval "port_$name=$port"
}
# Every layer of a store passes fsck.erofs.
fsck_all() { local f; for f in "$work/${1:-store}"/layers/*.erofs; do fsck.erofs "$f" || return 1; done; }
# What a tree holds, one line a file: type, mode, owner, size, time, links, target, content, xattrs.
describe() {
	(cd "$1" && find . -mindepth 1 ! -type d -printf '%P|%y|%m|%U:%G|%s|%T@|%n|%l\n' -o -mindepth 1 -type d -printf '%P|d|%m|%U:%G|%T@\n' | sort
	find . -type f -size -64M -print0 | sort -z | xargs -0 -r sha256sum
	find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | sort
	find . -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null)
}
