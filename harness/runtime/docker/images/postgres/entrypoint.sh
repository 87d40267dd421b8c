#!/bin/sh
# As the entry point of the official image, as far as compose files rely on it.
set -eu

# POSTGRES_PASSWORD_FILE and the like: the variable from a file.
for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB; do
  eval "file=\${${name}_FILE:-}"
  [ -z "$file" ] || eval "$name=\$(cat \"\$file\"); export $name"
done

case "${1:-postgres}" in
  -*) set -- postgres "$@" ;;
esac
[ "${1:-}" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA"
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo "Error: the database is new, and POSTGRES_PASSWORD says no password." >&2
    exit 1
  fi
  # Beside the place, and moved there when it is whole: a kill meanwhile leaves no half of it.
  new=$PGDATA/.new
  find "$PGDATA" -mindepth 1 -delete
  if [ -z "${POSTGRES_INITDB_ARGS:-}" ] && [ "$method" = scram-sha-256 ]; then
    # What initdb made when the image was built: making it takes seconds.
    cp -a /usr/local/share/postgres-new "$new"
    made=yes
  else
    printf '%s\n' "${POSTGRES_PASSWORD:-unused}" > /tmp/password
    # shellcheck disable=SC2086 # several words are meant
    initdb --pgdata="$new" --username="$user" --pwfile=/tmp/password --auth-local=trust \
      --auth-host="$method" --encoding=UTF8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
    rm /tmp/password
    made=
  fi
  printf 'host all all all %s\n' "$method" >> "$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --wait \
    --options="-c listen_addresses='' ${made:+-c allow_system_table_mods=on}" start
  # Its superuser gets the name and the password that initdb would have given.
  [ -z "$made" ] ||
    psql -v ON_ERROR_STOP=1 --no-psqlrc --username postgres --dbname postgres \
      --set user="$user" <<'SQL'
\getenv password POSTGRES_PASSWORD
UPDATE pg_authid SET rolname = :'user' WHERE rolname = 'postgres';
ALTER ROLE :"user" PASSWORD :'password';
SQL
  query() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user" --dbname "$1"; }
  [ "$database" = postgres ] ||
    psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user" --dbname postgres \
      --set db="$database" <<'SQL'
CREATE DATABASE :"db";
SQL
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sql) query "$database" < "$file" ;;
      *.sql.gz) gunzip -c "$file" | query "$database" ;;
      *.sh) POSTGRES_USER=$user POSTGRES_DB=$database sh "$file" ;;
    esac
  done
  pg_ctl --pgdata="$new" --wait --mode=fast stop
  # The mark of a whole one last.
  mv "$new/PG_VERSION" "$new/.version"
  for entry in "$new"/*; do mv "$entry" "$PGDATA/"; done
  mv "$new/.version" "$PGDATA/PG_VERSION"
  rmdir "$new"
fi
exec "$@" -c listen_addresses='*'
