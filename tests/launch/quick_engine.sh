#!/bin/sh
# A stand-in for nightreel-engine that starts at once and takes the time that its prompts name: tests/rank's fake_renderer,
# which speaks for one renderer, with the meeting of several answered here.
#   quick_engine.sh FAKE_RENDERER FOLDER
set -eu
exec 3>&1
while IFS= read -r line; do
  case $line in
    *'"type":"group"'*)
      address=$(printf '%s' "$line" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p')
      joined=true
      [ -n "$address" ] || joined=false
      printf '{"v":1,"type":"rendezvous","address":"%s","joined":%s}\n' "${address:-stand-in}" "$joined" >&3
      ;;
    *) printf '%s\n' "$line" ;;
  esac
done | "$1" "$2" >&3
