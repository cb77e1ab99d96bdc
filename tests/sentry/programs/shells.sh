#!/bin/bash
# Shells, job control, coreutils, busybox, other languages.
(exit 7); echo "st $?"
seq 100 | grep 1 | head -3 | wc -l
printf '3\n1\n2\n' | sort | md5sum
cd /tmp || exit; mkdir -p etc; echo 1 >etc/hosts; tar cf t.tar etc && tar tf t.tar; find /etc -name passwd
trap "echo caught" USR1; kill -USR1 $$; wait
for _ in 1 2 3; do sleep 0.1 & done; wait; echo all
dash -c 'sleep 0.1 & wait; echo dash; trap "echo bye" EXIT'
set -m; sleep 50 & p=$!; kill -STOP -- -$p; sleep 0.3; jobs | grep -c Stopped; kill -TERM -- -$p; kill -CONT -- -$p; wait $p 2>/dev/null; echo "job $?"; set +m
script -qec 'stty size; test -t 0 && echo tty' /dev/null </dev/null | tr -d '\r' | tail -1
busybox sh -c 'busybox seq 5 | busybox tac | busybox head -1; busybox ls -l /etc/hostname | busybox wc -l'
perl -e 'my $p = fork(); if (!$p) { exit 3 } waitpid $p, 0; print "perl ", $? >> 8, "\n"'
ruby -e 'r, w = IO.pipe; fork { w.write "ruby"; exit! }; w.close; puts r.read; puts Thread.new { 6 * 7 }.value'
openssl dgst -sha256 /etc/debian_version | wc -w
timeout 0.2 sleep 5; echo "timeout $?"
mkfifo q; (echo through >q &) ; cat q; rm q
flock /tmp/lock -c 'flock -n /tmp/lock -c true || echo locked'
