#!/bin/busybox sh
# PID 1 of the guest in its initramfs: mounts the shared root and the cgroup layout, then hands
# over to main.sh on that root. Only busybox exists here. Parameters: world_NAME=VALUE on the
# kernel command line.
b=/bin/busybox
export PATH=/bin
$b mkdir -p /proc /sys /dev /lower /over /new /hold
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for word in $($b cat /proc/cmdline); do
    case "$word" in world_*=*) export "$word" ;; esac
done

status_port=/dev/null
die() {
    $b echo "guest: $*" >/dev/console
    $b echo 125 >$status_port
    $b sync
    $b poweroff -f
    $b sleep 60
}

# The list is in dependency order, made on the host.
while read -r module; do
    $b insmod "/modules/$module" || die "insmod $module"
done </modules/list

# No udev here: virtio-serial ports are found by the names QEMU gave them.
for port in /sys/class/virtio-ports/*; do
    read -r name <"$port/name" || continue
    case "$name" in
        status) status_port=/dev/${port##*/} ;;
        output) output_port=/dev/${port##*/} ;;
    esac
done
export status_port output_port

# The host's root, read-only, under a scratch layer.
$b mount -t virtiofs -o ro rootfs /lower || die "mount of the shared root"
$b mount -t tmpfs -o size=60%,mode=755 over /over && $b mkdir /over/upper /over/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work overlay /new ||
    die "overlay on the shared root"

# Modules of this kernel where the kernel and modprobe look for them.
release=$($b uname -r)
$b mkdir -p "/new/lib/modules/$release"
$b mount --bind "/lower$world_modules" "/new/lib/modules/$release" || die "bind of the modules"

# A fresh /tmp; the folders of the host's /tmp that the job needs stay visible.
number=0
while read -r folder; do
    number=$((number + 1))
    $b mkdir -p /hold/$number
    $b mount --bind "/new$folder" /hold/$number || die "bind of $folder"
done </keep
$b mount -t tmpfs -o mode=1777 tmp /new/tmp
number=0
while read -r folder; do
    number=$((number + 1))
    $b mkdir -p "/new$folder"
    $b mount --move /hold/$number "/new$folder" || die "bind of $folder"
done </keep

# A real block device for container state, so that io.max and io.stat have something to say.
$b mkdir -p "/new$world_state"
$b mount -t ext4 /dev/vda "/new$world_state" || die "mount of the state disk"
$b swapon /dev/vdb || die "swapon"

$b mkdir -p /new/proc /new/sys /new/dev /new/run
for api in proc sys dev; do $b mount --move /$api /new/$api; done
$b mount -t tmpfs -o mode=755,nosuid,nodev run /new/run
$b mkdir -p /new/dev/pts /new/dev/shm /new/dev/mqueue
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
$b mount -t tmpfs -o mode=1777 shm /new/dev/shm
$b mount -t mqueue mqueue /new/dev/mqueue
$b ln -sf /proc/self/fd /new/dev/fd
$b ln -sf /proc/self/fd/0 /new/dev/stdin
$b ln -sf /proc/self/fd/1 /new/dev/stdout
$b ln -sf /proc/self/fd/2 /new/dev/stderr
$b mount -t securityfs securityfs /new/sys/kernel/security
$b mount -t debugfs debugfs /new/sys/kernel/debug
$b mount -t tracefs tracefs /new/sys/kernel/tracing
$b mount -t bpf bpf /new/sys/fs/bpf

cgroup=/new/sys/fs/cgroup
case "$world_mode" in
    v2) # one hierarchy, every controller delegated below its root
        $b mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $cgroup || die "cgroup2"
        for controller in $($b cat $cgroup/cgroup.controllers); do
            $b echo "+$controller" >$cgroup/cgroup.subtree_control
        done
        ;;
    v1 | hybrid) # systemd's layout: joint mounts with links, a named hierarchy
        $b mount -t tmpfs -o mode=755 cgroup $cgroup
        for set in cpu,cpuacct cpuset memory devices freezer blkio pids net_cls,net_prio \
            perf_event hugetlb rdma misc; do
            $b mkdir $cgroup/$set
            if ! $b mount -t cgroup -o $set cgroup $cgroup/$set; then
                $b rmdir $cgroup/$set # not in this kernel
                continue
            fi
            case $set in *,*)
                $b ln -s $set $cgroup/${set%,*}
                $b ln -s $set $cgroup/${set#*,}
                ;;
            esac
        done
        $b mkdir $cgroup/systemd
        $b mount -t cgroup -o none,name=systemd cgroup $cgroup/systemd
        if [ "$world_mode" = hybrid ]; then
            $b mkdir $cgroup/unified
            $b mount -t cgroup2 -o nsdelegate cgroup2 $cgroup/unified || die "cgroup2"
        fi
        ;;
    *) die "unknown mode $world_mode" ;;
esac

$b ip link set lo up
$b hostname guest
$b mkdir /new/run/guest
$b cp /main.sh /job.sh $b /new/run/guest/
exec $b switch_root -c /dev/console /new /bin/sh /run/guest/main.sh
