#!/usr/bin/env bash
# check_unit.sh SYSTEMD-ANALYZE UNIT GALLOCY: systemd must find nothing wrong with the unit. The program is the one that
# was built, as nothing is installed yet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
sed "s|^ExecStart=[^ ]*|ExecStart=$3|" "$2" > "$folder/gallocy-node.service"
said=$("$1" verify "$folder/gallocy-node.service" 2>&1) || { echo "$said"; exit 1; }
# It also reads the machine's own units, and may have something to say of them.
! grep gallocy-node <<< "$said"
