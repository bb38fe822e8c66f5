#!/bin/sh
# Runs COMMAND in a root directory that has nothing but GALLOCY, as /gallocy, the devices and /proc: a host without the
# program, its libraries and its files. For --launch, in a mount namespace of its own (unshare -m), which takes the
# directory's contents away with it.
#   bare_host.sh DIRECTORY GALLOCY COMMAND...
set -e
root=$1 gallocy=$2
shift 2
mount -t tmpfs none "$root"
mkdir "$root/proc" "$root/dev"
cp "$gallocy" "$root/gallocy"
mount -t proc none "$root/proc"
mount --bind /dev "$root/dev"
exec chroot "$root" "$@"
