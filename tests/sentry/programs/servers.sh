#!/bin/bash
# redis with its benchmark, nginx with wrk, SQLite.
redis-server --port 7793 --dir /tmp --save "" --daemonize yes --unixsocket /tmp/redis.sock >/dev/null
for _ in 1 2 3 4 5 6 7 8 9; do redis-cli -p 7793 ping 2>/dev/null && break; sleep 0.3; done
redis-benchmark -p 7793 -q -n 2000 -c 20 -P 4 -t set,get,lpush --csv | cut -d, -f1
redis-cli -s /tmp/redis.sock eval 'return redis.call("incr", "x")' 0; redis-cli -p 7793 bgsave >/dev/null; redis-cli -p 7793 shutdown nosave
cat >/tmp/n.conf <<N
worker_processes 2; error_log /tmp/n.err; pid /tmp/n.pid;
events { worker_connections 64; } http { access_log off; server { listen 127.0.0.1:7797; root /usr/share; sendfile on; location = /hi { return 200 hi; } } }
N
nginx -c /tmp/n.conf; sleep 0.3
curl -s http://127.0.0.1:7797/hi; echo
curl -s http://127.0.0.1:7797/common-licenses/GPL-3 | cmp - /usr/share/common-licenses/GPL-3 && echo same
wrk -t2 -c10 -d1s http://127.0.0.1:7797/hi | grep -cE 'Requests/sec: +[1-9]|Non-2xx'
nginx -c /tmp/n.conf -s reload; sleep 0.3; curl -s http://127.0.0.1:7797/hi; echo; nginx -c /tmp/n.conf -s stop
sqlite3 /tmp/t.db 'pragma journal_mode=wal; create table a(x); with recursive c(n) as (select 1 union all select n+1 from c where n<5000) insert into a select n from c; select sum(x) from a; pragma integrity_check;'
