#!/bin/bash
# OpenSSH on loopback: keys, a command, a terminal, a stream.
mkdir -p /run/sshd /tmp/k /root/.ssh; chmod 700 /tmp/k /root /root/.ssh
ssh-keygen -q -t ed25519 -N "" -f /tmp/k/host; ssh-keygen -q -t ed25519 -N "" -f /tmp/k/user
cp /tmp/k/user.pub /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys; touch /root/.hushlogin
/usr/sbin/sshd -p 7794 -h /tmp/k/host -o PidFile=/tmp/k/pid -o ListenAddress=127.0.0.1 -o PrintMotd=no -o UsePAM=no -E /tmp/k/log
S="ssh -i /tmp/k/user -p 7794 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1"
$S 'echo over $(whoami)'
$S -tt 'tty >/dev/null && echo a terminal' | tr -d '\r'
echo data | $S cat
head -c 300000 /dev/zero | $S wc -c
kill "$(cat /tmp/k/pid)"
