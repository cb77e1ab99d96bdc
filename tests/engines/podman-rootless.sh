#!/usr/bin/env bash
# podman from Debian's packages drives the runtime for an ordinary user: a user namespace from newuidmap, no cgroups of its own, no network devices.
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"

UIDN=12345
cleanup() {
	[ -f "$WORK/bin/podman" ] || return
	podman pod rm -af -t 0 >/dev/null 2>&1
	podman rm -af -t 0 >/dev/null 2>&1
	podman unshare rm -rf "$WORK/user/root" >/dev/null 2>&1
	for p in $(pgrep -u $UIDN); do kill -9 "$p" 2>/dev/null; done # all of them are in our pid namespace
}
need podman conmon busybox newuidmap setpriv

# A user of this suite only: the files are ours in a mount namespace of our own (lib.sh).
mkdir -p "$WORK/etc" "$WORK/user" "$WORK/xdg" "$WORK/bin"
{ cat /etc/passwd; echo "tierceeng:x:$UIDN:$UIDN::$WORK/user:/bin/sh"; } >"$WORK/etc/passwd"
{ cat /etc/group; echo "tierceeng:x:$UIDN:"; } >"$WORK/etc/group"
echo "tierceeng:3000000:65536" | tee "$WORK/etc/subuid" >"$WORK/etc/subgid"
for f in passwd group subuid subgid; do
	[ -e /etc/$f ] || { skip "rootless podman" "/etc/$f is not there"; exit 0; }
	mount --bind "$WORK/etc/$f" /etc/$f
done
# The user cannot look into the build folder of another user's home.
cp -L "$RUNTIME" "$WORK/bin/tierce-oci"
cat >"$WORK/user/containers.conf" <<C
[containers]
default_ulimits = []
pids_limit = 0
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "tierce"
runtime_supports_json = ["tierce"]
lock_type = "file"
[engine.runtimes]
tierce = ["$WORK/bin/tierce-oci"]
C
cat >"$WORK/user/storage.conf" <<C
[storage]
driver = "vfs"
runroot = "$WORK/xdg/run"
graphroot = "$WORK/user/root"
C
make_image "$WORK/user/image.tar"
chmod 755 "$WORK/bin" "$WORK/etc"; chmod 644 "$WORK/etc/"*
chown -R $UIDN:$UIDN "$WORK/user" "$WORK/xdg"
chmod 700 "$WORK/xdg"
cat >"$WORK/bin/podman" <<P
#!/bin/sh
cd "$WORK/user"
exec setpriv --reuid $UIDN --regid $UIDN --clear-groups env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=$WORK/user USER=tierceeng XDG_RUNTIME_DIR=$WORK/xdg TMPDIR=$WORK/user \\
	CONTAINERS_CONF=$WORK/user/containers.conf CONTAINERS_STORAGE_CONF=$WORK/user/storage.conf $(command -v podman) "\$@"
P
chmod +x "$WORK/bin/podman"
PATH=$WORK/bin:$PATH
I=localhost/busy:1
N=--network=none

passes "an ordinary user imports an image" podman import -c 'CMD ["/bin/sh"]' "$WORK/user/image.tar" $I
matches "info: rootless" true podman info --format '{{.Host.Security.Rootless}}'
prints "run prints" hello podman run --rm $N $I echo hello
exits "exit code" 42 podman run --rm $N $I sh -c 'exit 42'
exits "missing program" 127 podman run --rm $N $I /no/such
prints "root inside" "0 0" podman run --rm $N $I sh -c 'echo $(id -u; id -g)'
matches "root inside is the user outside" "^ +0 +$UIDN +1" podman run --rm $N $I cat /proc/self/uid_map
prints "another user inside" "1000 1000" podman run --rm $N --user 1000:1000 $I sh -c 'echo $(id -u; id -g)'
prints "a user by name" 1000 podman run --rm $N --user user $I id -u
matches "--userns keep-id" "^$UIDN\$" podman run --rm $N --userns keep-id $I id -u
prints "environment and directory" "v /tmp" podman run --rm $N -e A=v -w /tmp $I sh -c 'echo $A $PWD'
prints "host name" boxy podman run --rm $N --hostname boxy $I hostname
matches "the host's network" "lo" podman run --rm --network=host $I ip link
refuses "read-only root" "Read-only file system" podman run --rm $N --read-only $I touch /x
echo hers >"$WORK/user/given"; chown $UIDN "$WORK/user/given"
prints "a volume from the host" hers podman run --rm $N -v "$WORK/user:/v:ro" $I cat /v/given
passes "what the container writes is the user's" podman run --rm $N -v "$WORK/user:/v" $I sh -c 'echo new >/v/made'
prints "... outside" $UIDN stat -c %u "$WORK/user/made"
prints "tmpfs" tmpfs podman run --rm $N --tmpfs /t $I stat -f -c %T /t
matches "terminal" "/dev/pts" script -qec "$WORK/bin/podman run --rm -t $N $I tty" /dev/null
prints "capabilities dropped" 0000000000000000 podman run --rm $N --cap-drop all $I sh -c "awk '/CapEff/{print \$2}' /proc/self/status"
prints "seccomp is on" 2 podman run --rm $N $I awk '/^Seccomp:/{print $2}' /proc/self/status
passes "detached" podman run -d --name d $N $I sleep 1000
matches "it runs" running podman inspect -f '{{.State.Status}}' d
prints "exec" "from-image" podman exec d cat /data/file
exits "exec's exit code" 7 podman exec d sh -c 'exit 7'
prints "exec as another user" 1000 podman exec --user 1000 d id -u
exits "exec of a missing program" 127 podman exec d /no/such
matches "top" sleep podman top d args
passes "stop" podman stop -t 0 d
matches "it has stopped" exited podman inspect -f '{{.State.Status}}' d
passes "start again" podman start d
passes "kill" podman kill d
eventually "137 after kill" 137 podman inspect -f '{{.State.ExitCode}}' d
passes "rm" podman rm -f d
passes "a container with an init" podman run --rm $N --init $I true
passes "create" podman create --name c $N $I echo created
prints "start -a" created podman start -a c
matches "logs" created podman logs c
passes "rm of a stopped one" podman rm c
lacks "nothing is left" "." podman ps -aq
