#!/bin/bash
# A project of several files with make, in parallel; C libraries, static and position-independent.
mkdir -p /tmp/p && cd /tmp/p || exit
for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x + $i; }" >f$i.c; done
echo 'int f1(int), f2(int), f3(int), f4(int), f5(int), f6(int), printf(const char *, ...); int main(void) { printf("%d\n", f1(f2(f3(f4(f5(f6(0))))))); return 0; }' >main.c
printf 'prog: f1.o f2.o f3.o f4.o f5.o f6.o main.o\n\tgcc -o $@ $^\n' >Makefile
make -s -j4 CFLAGS=-O2 && ./prog && rm f3.o && make -s && make -q && echo up to date
for how in "gcc" "gcc -static" "gcc -static-pie" "musl-gcc" "musl-gcc -static"; do $how -O1 /opt/programs/spawn.c -o spawn && ./spawn; done
printf '\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0\1\0\0\0' >e32; head -c 200 /dev/zero >>e32; chmod +x e32; ./e32 2>/dev/null; echo "32-bit: $?"
