#!/bin/bash
# git: history, clone by path and by protocol, merge, packing.
cd /tmp || exit
git init -q -b main a && cd a || exit
git config user.name a; git config user.email b
for i in 1 2 3; do echo $i >f; git add .; git commit -qm "$i"; done
git checkout -qb side HEAD~1; echo s >g; git add .; git commit -qm side; git checkout -q main; git merge -q side -m merged; git log --format=%s | sort
git daemon --reuseaddr --listen=127.0.0.1 --port=7792 --base-path=/tmp --export-all --detach --pid-file=/tmp/gd
sleep 0.5
git clone -q git://127.0.0.1:7792/a /tmp/b && cd /tmp/b && git log --oneline | wc -l
git gc -q; git fsck 2>&1 | grep -c error
kill "$(cat /tmp/gd)"
