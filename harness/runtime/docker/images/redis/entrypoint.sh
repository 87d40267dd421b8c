#!/bin/sh
# As the entry point of the official image: options alone mean redis-server, which takes connections
# from other containers unless it is told not to, on the command line or in its file.
set -eu
case "${1:-redis-server}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
  said=" $* "
  for word; do
    case "$word" in
      *.conf)
        [ ! -r "$word" ] ||
          said="$said$(sed -n 's/^[[:space:]]*\(protected-mode\|bind\)[[:space:]].*/ --\1 /p' "$word") "
        ;;
    esac
  done
  case "$said" in
    *" --protected-mode "*) ;;
    *) set -- "$@" --protected-mode no ;;
  esac
  case "$said" in
    *" --bind "*) ;;
    *) set -- "$@" --bind 0.0.0.0 ;;
  esac
fi
exec "$@"
