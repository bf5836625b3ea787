#!/bin/busybox sh
# The guest's first program. The host's files lie under an overlay of memory, the unpacked packages on top of them.
B=/bin/busybox
fail() { echo "rxe: $*"; $B poweroff -f; }
share() { $B mount -t 9p -o "$1,trans=virtio,version=9p2000.L,msize=512000" "$2" "$3" || fail "cannot mount $2"; }
$B mount -t proc proc /proc && $B mount -t sysfs sysfs /sys && $B mount -t devtmpfs dev /dev
for module in $($B cat /modules.list); do $B insmod "/modules/$module.ko" || fail "cannot load $module"; done
# two shares, since an overlay refuses folders of one file system that lie within each other
share ro,cache=loose host /lower
share ro,cache=loose packages /packages
$B mount -t tmpfs tmpfs /overlay && $B mkdir /overlay/upper /overlay/work
$B mount -t overlay -o lowerdir=/packages:/lower,upperdir=/overlay/upper,workdir=/overlay/work overlay /new || fail "no overlay"
for folder in proc sys dev; do $B mount --move "/$folder" "/new/$folder"; done
$B mkdir -p /new/dev/shm /new/dev/pts
$B mount -t tmpfs tmpfs /new/dev/shm && $B mount -t devpts devpts /new/dev/pts
$B mount -t tmpfs tmpfs /new/run && $B mkdir /new/run/rxe /new/run/tmp
share rw exchange /new/run/rxe
$B chroot /new /bin/bash /run/rxe/guest.sh </new/dev/null
echo "$?" >/new/run/rxe/status
$B sync
$B poweroff -f
