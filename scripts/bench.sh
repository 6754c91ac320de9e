#!/bin/sh
# Starts bin/platform on ports and data of its own, loads it, and stops it.
# Arguments go to "platform bench" and override the ones here.
set -eu
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
chmod 711 "$dir" # as root, Postgres runs as somebody else
export HIBARI_DATA_DIR="$dir/data" HIBARI_LOG=warn
export HIBARI_HTTP_ADDR="127.0.0.1:${BENCH_HTTP_PORT:-18080}" HIBARI_MEDIA_ADDR="127.0.0.1:${BENCH_MEDIA_PORT:-17700}"
export HIBARI_PUBLIC_URL="http://$HIBARI_HTTP_ADDR"
unset HIBARI_DATABASE_URL HIBARI_MASTER_KEY HIBARI_MEDIA_IPS HIBARI_TLS_CERT HIBARI_TLS_KEY

bin/platform serve >"$dir/log" 2>&1 &
server=$!
stop() {
	kill -TERM "$server" 2>/dev/null || :
	wait "$server" 2>/dev/null || :
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

tries=0
until grep -q 'http://' "$dir/log"; do
	tries=$((tries + 1))
	if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
		cat "$dir/log" >&2
		exit 1
	fi
	sleep 0.1
done
bin/platform tenant create --name Bench --email bench@example.com --json >/dev/null
bin/platform licence set --tenant bench@example.com --connections 1000 --per-channel 1000
bin/platform bench --tenant bench@example.com --viewers 150 --rate 240 --duration 20s --pid "$server" "$@"
