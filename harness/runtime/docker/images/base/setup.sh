# What every base has, however it is made. Runs in it as root, with no network.
set -eu
getent group harness >/dev/null || groupadd --gid 1000 harness
getent passwd harness >/dev/null ||
  useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data --shell /usr/sbin/nologin harness
mkdir -p /data /usr/local/lib/harness-site
chown 1000:1000 /data
# What the official images of Python call it as well, and so the commands of compose files.
command -v python >/dev/null || ln -s python3 /usr/bin/python
# One name for it on every machine's architecture.
ln -sf /usr/lib/*-linux-*/faketime/libfaketime.so.1 /usr/local/lib/libfaketime.so.1
test -e /usr/local/lib/libfaketime.so.1
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt \
  /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian \
  /usr/share/bash-completion /usr/share/perl5/debconf-doc
