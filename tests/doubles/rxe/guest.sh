# The device: rxe0 on the loopback interface. Its GID 1 is that of 127.0.0.1. Status 125 says that it cannot be made.
ip link set lo up || exit 125
rdma link add rxe0 type rxe netdev lo || exit 125
for _ in $(seq 100); do
  grep -q ffff:7f00:0001 /sys/class/infiniband/rxe0/ports/1/gids/1 && break
  sleep 0.1
done
# the host's /tmp stays in sight, since the command's folder may lie in it
export TMPDIR=/run/tmp
# pyverbs alone, not all of Debian's modules
mkdir -p /run/python
ln -s /usr/lib/python3/dist-packages/pyverbs /run/python/pyverbs
cut -d' ' -f1 /proc/uptime >/run/rxe/booted
