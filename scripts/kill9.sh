#!/usr/bin/env bash
# Kills a writing process with kill -9 at random moments, and checks after each that every acknowledged commit is
# there once and whole. ROUNDS=100 by default. With --control the writer acknowledges too early, and the script
# succeeds only if the checker finds commits lost.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-100}
control=()
if [ "${1:-}" = --control ]; then control=(--control); fi

program=${KILL9_BIN:-}
if [ -z "$program" ]; then
  cargo build --release --quiet -p eventcore-examples --bin kill9
  program=${CARGO_TARGET_DIR:-target}/release/kill9
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
database=$folder/kill9.db
check() { "$program" --database "$database" check "$folder"/acknowledged.*; }

for ((round = 1; round <= rounds; round++)); do
  acknowledged=$folder/acknowledged.$round
  "$program" --database "$database" write --first "${round}0000000" "${control[@]}" >"$acknowledged" &
  writer=$!
  sleep "0.$((RANDOM % 200 + 100))"
  # A writer that ended by itself has failed, and says why.
  if ! kill -9 "$writer"; then wait "$writer"; fi
  wait "$writer" 2>/dev/null || true
  if [ ${#control[@]} = 0 ] && ! said=$(check); then
    printf 'after round %s: %s\n' "$round" "$said"
    exit 1
  fi
done

status=0
said=$(check) || status=$?
printf '%s rounds of kill -9: %s\n' "$rounds" "$said"
if [ ${#control[@]} = 0 ]; then
  if [[ $said == "acknowledged 0,"* ]]; then echo "the writer never came to write"; exit 1; fi
  exit "$status"
fi
if [[ $said == *" lost 0,"* || $said != *" lost "* ]]; then
  echo "the control lost nothing: the checker cannot tell a durable store from one that acknowledges too early"
  exit 1
fi
echo "as it must: acknowledging too early was found out"
