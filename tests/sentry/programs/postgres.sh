#!/bin/bash
# PostgreSQL: a cluster, a table, pgbench over a unix socket, shutdown.
rm -rf /tmp/pg /tmp/pgs; mkdir /tmp/pgs; chown -R postgres /tmp/pgs
P=/usr/lib/postgresql/15/bin
su postgres -c "$P/initdb -D /tmp/pg -A trust --no-sync >/dev/null && echo initdb ok; $P/pg_ctl -D /tmp/pg -l /tmp/pgs/log -w -o '-k /tmp/pgs -h 127.0.0.1 -p 7795' start >/dev/null; echo started"
psql -h 127.0.0.1 -p 7795 -U postgres -Atc 'create table t(a int); insert into t select generate_series(1,1000); select sum(a) from t'
su postgres -c "pgbench -h /tmp/pgs -p 7795 -i -q -s 1 postgres >/dev/null 2>&1; pgbench -h /tmp/pgs -p 7795 -c 4 -j 2 -t 50 postgres 2>&1 | grep processed"
su postgres -c "$P/pg_ctl -D /tmp/pg -m fast stop" | tail -1
