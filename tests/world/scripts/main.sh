# PID 1 of the guest on its final root: runs the job, sends its output and status to the host,
# powers off. As a shell it reaps orphans while it waits.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=dumb
here=/run/guest
mount --make-rshared / # as systemd does; container code relies on it
read -r uptime _ </proc/uptime
echo "guest: $(uname -r), mode $world_mode, job starts at ${uptime} s" >/dev/console

# The first group with a CPU quota, and the end of the last, make the kernel rewrite code of its
# scheduler, which the emulator may run at that very moment: a panic, once in many runs. This group
# is there all the time.
quota=/sys/fs/cgroup/cpu
[ -d $quota ] || quota=/sys/fs/cgroup
[ "$quota" != /sys/fs/cgroup ] || echo +cpu >$quota/cgroup.subtree_control
mkdir $quota/quota
for file in cpu.max cpu.cfs_quota_us; do
    [ ! -e $quota/quota/$file ] || echo 100000 >$quota/quota/$file
done

# The same happens once for the secrets of each protocol, behind the first packet that needs one. Here
# nothing else runs meanwhile. Nobody listens there.
for packet in tcp/127.0.0.1 udp/127.0.0.1 tcp/::1 udp/::1; do
    bash -c "echo >/dev/$packet/9" 2>/dev/null
    sleep 0.1
done

# A virtio port can be opened only once, so it cannot be the job's own /dev/stdout.
mkfifo $here/output
{
    cat <$here/output >"$output_port"
    : >$here/drained
} &
(
    if [ "$world_mode" = v2 ]; then # as under systemd the job is not in the root cgroup
        mkdir /sys/fs/cgroup/job && echo 0 >/sys/fs/cgroup/job/cgroup.procs
    fi
    exec setsid timeout -k 5 "$world_timeout" sh $here/job.sh
) </dev/null >$here/output 2>&1
status=$?
case $status in 124 | 137)
    ps axo pid,ppid,stat,wchan:20,args >/dev/console
    dmesg | tail -30 >/dev/console
    ;;
esac

# A daemon left behind may hold the pipe open: do not wait for it for ever.
tries=0
while [ ! -e $here/drained ] && [ $tries -lt 30 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
echo "$status" >"$status_port"
sync
$here/busybox poweroff -f
sleep 60
