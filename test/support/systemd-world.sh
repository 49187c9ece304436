#!/bin/bash
# A systemd of its own in private namespaces, for the systemd driver's test: systemd-world.sh UNIT_FILE
#
# Run by: unshare --fork --pid --mount --uts --ipc --cgroup --kill-child. Root needed. Everything of the machine is
# read-only in here; /run, /tmp, /opt, /var/tmp, /var/log and /var/lib are empty and private. The units that tidy up temporary files are
# masked: they would empty folders that other mounts still share.
set -e
unit=$(realpath "$1")

mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd

# The unit lies below /tmp: read it before /tmp is hidden.
text=$(cat "$unit")
for folder in /run /tmp /opt /var/tmp /var/log /var/lib; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /run/systemd/system
printf '%s\n' "$text" > "/run/systemd/system/$(basename "$unit")"
mount -o remount,bind,ro /

for service in tmpfiles-setup tmpfiles-setup-dev tmpfiles-clean sysusers udevd timesyncd; do
  ln -sf /dev/null "/run/systemd/system/systemd-$service.service"
done
exec env container=other /lib/systemd/systemd --system --unit="$(basename "$unit")" --log-level=warning --log-target=console --show-status=0
