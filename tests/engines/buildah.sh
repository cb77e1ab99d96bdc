#!/usr/bin/env bash
# buildah from Debian's packages builds images with the runtime.
# shellcheck source=tests/engines/lib.sh
. "$(dirname "$0")/lib.sh"

cleanup() { [ -f "$WORK/storage.conf" ] && buildah rm -a >/dev/null 2>&1; }
need buildah busybox
cat >"$WORK/storage.conf" <<C
[storage]
driver = "overlay"
runroot = "$WORK/run"
graphroot = "$WORK/root"
C
printf '[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\n' >"$WORK/containers.conf"
export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf BUILDAH_RUNTIME=$RUNTIME BUILDAH_ISOLATION=oci
make_image "$WORK/layer.tar"
I=localhost/busy:1
passes "an image from a tarball" sh -c "c=\$(buildah from scratch) && buildah add -q \$c $WORK/layer.tar / && buildah config --env PATH=/bin --cmd /bin/sh \$c && buildah commit -q --rm \$c $I"
c=$(buildah from $I)
prints "run prints" "hello" buildah run "$c" echo hello
exits "run passes the exit code" 7 buildah run "$c" sh -c 'exit 7'
refuses "run of a missing program" "executable file not found in .PATH" buildah run "$c" nosuch
prints "run --user" "1000" buildah run --user user "$c" id -u
prints "run --workingdir" "/tmp" buildah run --workingdir /tmp "$c" pwd
prints "run --env" "v" buildah run --env K=v "$c" sh -c 'echo $K'
prints "run --volume" "host" sh -c "echo host >$WORK/f; buildah run --volume $WORK/f:/f:ro $c cat /f"
prints "run --cap-drop" "0" buildah run --cap-drop CAP_CHOWN "$c" sh -c 'chown 1:1 /data/file 2>/dev/null && echo 1 || echo 0'
prints "run --hostname" "box" buildah run --hostname box "$c" hostname
prints "run --network host" "$(readlink /proc/self/ns/net)" buildah run --network host "$c" readlink /proc/self/ns/net
passes "run changes the container" buildah run "$c" sh -c 'echo made >/made'
prints "... which stays" "made" buildah run "$c" cat /made
passes "commit" buildah commit -q "$c" localhost/made:1
passes "rm" buildah rm "$c"
mkdir -p "$WORK/ctx"; echo ctx >"$WORK/ctx/file"
cat >"$WORK/ctx/Containerfile" <<C
FROM $I AS first
ARG WHAT=nothing
RUN echo built-\$WHAT >/built && id -u >/uid
FROM $I
COPY --from=first /built /built
COPY file /copied
USER user
RUN id -un >/tmp/who && test ! -w /etc/passwd
RUN --mount=type=bind,source=file,target=/mnt/file cat /mnt/file >/tmp/mounted
WORKDIR /w
ENV A=b
CMD ["cat", "/built"]
C
passes "bud: two stages, arguments, users, mounts" buildah bud -q --build-arg WHAT=it -t localhost/bud:1 "$WORK/ctx"
d=$(buildah from localhost/bud:1)
prints "... copied from the first stage" "built-it" buildah run "$d" cat /built
prints "... as its user" "user" buildah run "$d" cat /tmp/who
prints "... with the bind mount" "ctx" buildah run "$d" cat /tmp/mounted
prints "... in its directory" "/w" buildah run "$d" pwd
passes "bud --layers" buildah bud -q --layers --build-arg WHAT=it -t localhost/bud:2 "$WORK/ctx"
passes "bud --memory" sh -c "printf 'FROM $I\nRUN true\n' | buildah bud -q --memory 64m -t localhost/mem:1 -f - $WORK/ctx"
refuses "a failing step fails the build" "exit status 3|error building" sh -c "printf 'FROM $I\nRUN exit 3\n' | buildah bud -f - $WORK/ctx"
refuses "a missing program fails the build" "not found|no such file" sh -c "printf 'FROM $I\nRUN [\"nosuch\"]\n' | buildah bud -f - $WORK/ctx"
