#!/bin/bash
# apt-get with a package that is made here, from a repository on loopback.
mkdir -p /tmp/repo /tmp/b/DEBIAN /tmp/b/usr/bin
printf 'Package: tierce-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDepends: bash\nDescription: a package\n' >/tmp/b/DEBIAN/control
printf '#!/bin/sh\necho post-install ran\n' >/tmp/b/DEBIAN/postinst; chmod 755 /tmp/b/DEBIAN/postinst
printf '#!/bin/sh\necho hello from the package\n' >/tmp/b/usr/bin/tierce-hello; chmod 755 /tmp/b/usr/bin/tierce-hello
dpkg-deb --root-owner-group -b /tmp/b /tmp/repo/tierce-hello_1.0_all.deb >/dev/null
cd /tmp/repo || exit; apt-ftparchive packages . >Packages; apt-ftparchive release . >Release
python3 -m http.server --bind 127.0.0.1 7791 >/tmp/http.log 2>&1 &
sleep 1
echo "deb [trusted=yes] http://127.0.0.1:7791/ ./" >/tmp/list
A="-o Dir::Etc::sourcelist=/tmp/list -o Dir::Etc::sourceparts=/dev/null -o Acquire::http::Proxy=false"
apt-get $A update >/dev/null 2>&1 && echo ok
apt-get $A install -y tierce-hello >/dev/null 2>&1 && echo ok
tierce-hello
apt-get remove -y tierce-hello >/dev/null 2>&1 && echo ok
kill %1
