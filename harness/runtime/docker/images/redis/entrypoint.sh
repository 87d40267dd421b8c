#!/bin/sh
# As the entry point of the official image: options alone mean redis-server, which takes connections
# from other containers unless it is told not to.
set -eu
case "${1:-redis-server}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
  case " $* " in
    *" --protected-mode "* | *.conf*) ;;
    *) set -- "$@" --protected-mode no ;;
  esac
  case " $* " in
    *" --bind "* | *.conf*) ;;
    *) set -- "$@" --bind 0.0.0.0 ;;
  esac
fi
exec "$@"
