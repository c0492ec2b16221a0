// Stands in for the engine's library: tries what hostile native code would, as soon as it is loaded, and tells each outcome on standard
// error as `name errno`, 0 where the call worked. TARGET is the id of a process outside, SECRET a file outside. The arguments are such that
// a call that gets through does little harm; do not load it unconfined all the same.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void told(const char *name, long result) { dprintf(2, "%s %d\n", name, result < 0 ? errno : 0); }
#define TRY(name, ...) do { errno = 0; told(name, syscall(__VA_ARGS__)); } while (0)

static const char *secret;
static char path[4096];

static void *in_thread(void *unused) {
  (void)unused;
  TRY("thread-open-secret", SYS_openat, AT_FDCWD, secret, O_RDONLY, 0);
  return NULL;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *waits(void *unused) {
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  return unused;
}

// As many threads as the kernel gives, all at once.
static void thread_bomb(void) {
  static pthread_t threads[10000];
  int made = 0;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 16384);
  pthread_mutex_lock(&gate);
  while (made < 10000 && pthread_create(&threads[made], &small, waits, NULL) == 0) made++;
  pthread_mutex_unlock(&gate);
  for (int n = 0; n < made; n++) pthread_join(threads[n], NULL);
  dprintf(2, "threads=%d\n", made);
}

__attribute__((constructor)) static void escape(void) {
  if (!getenv("TARGET") || !getenv("SECRET")) return;
  long target = atol(getenv("TARGET")), own = getpid();
  secret = getenv("SECRET");
  siginfo_t info = {0};
  info.si_code = SI_QUEUE;
  struct rlimit few = {1, 1}, read = {0, 0};
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  char byte = 0;
  struct iovec one = {&byte, 1}, other = {(void *)4096, 1};
  struct sockaddr_un address = {AF_UNIX, "\0abstract"};
  struct msghdr message = {0};
  struct open_how how = {0};

  // Other processes.
  TRY("kill", SYS_kill, target, 0);
  TRY("kill-group", SYS_kill, 0, 0);
  TRY("kill-all", SYS_kill, -1, 0);
  TRY("tkill", SYS_tkill, target, 0);
  TRY("tgkill", SYS_tgkill, target, target, 0);
  TRY("rt_sigqueueinfo", SYS_rt_sigqueueinfo, target, SIGURG, &info);
  TRY("rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, target, target, SIGURG, &info);
  TRY("pidfd_open", SYS_pidfd_open, target, 0);
  TRY("pidfd_send_signal", SYS_pidfd_send_signal, 0, 0, 0, 0);
  TRY("pidfd_getfd", SYS_pidfd_getfd, 0, 0, 0);
  TRY("prlimit64", SYS_prlimit64, target, RLIMIT_NOFILE, 0, &read);
  TRY("prlimit64-own", SYS_prlimit64, own, RLIMIT_NOFILE, &few, 0);
  TRY("sched_setaffinity", SYS_sched_setaffinity, target, sizeof cpus, &cpus);
  TRY("sched_setscheduler", SYS_sched_setscheduler, target, 0, &few);
  TRY("setpriority", SYS_setpriority, PRIO_PROCESS, target, 19);
  TRY("ioprio_set", SYS_ioprio_set, 1, target, 0);
  TRY("ptrace", SYS_ptrace, 16, target, 0, 0);
  TRY("process_vm_readv", SYS_process_vm_readv, target, &one, 1, &other, 1, 0);
  TRY("process_vm_writev", SYS_process_vm_writev, target, &one, 1, &other, 1, 0);
  TRY("process_madvise", SYS_process_madvise, 0, &one, 1, 20, 0);
  TRY("kcmp", SYS_kcmp, own, target, 0, 0, 0);
  TRY("move_pages", SYS_move_pages, target, 0, 0, 0, 0, 0);
  TRY("get_robust_list", SYS_get_robust_list, target, &byte, &byte);

  // Processes and programs.
  TRY("clone", SYS_clone, SIGCHLD, 0, 0, 0, 0);
  TRY("clone3", SYS_clone3, &byte, 0);
#ifdef SYS_fork
  TRY("fork", SYS_fork);
  TRY("creat", SYS_creat, secret, 0600);
  TRY("open-write", SYS_open, secret, O_WRONLY);
  TRY("chmod", SYS_chmod, secret, 0777);
  TRY("x32-kill", 0x40000000L | SYS_kill, target, 0);
#endif
  TRY("execve", SYS_execve, "/bin/true", 0, 0);
  TRY("execveat", SYS_execveat, AT_FDCWD, "/bin/true", 0, 0, 0);
  TRY("unshare", SYS_unshare, 0x10000000);
  TRY("setns", SYS_setns, 0, 0);

  // Files.
  TRY("open-secret", SYS_openat, AT_FDCWD, secret, O_RDONLY, 0);
  TRY("open-rdwr", SYS_openat, AT_FDCWD, secret, O_RDWR, 0);
  TRY("open-create", SYS_openat, AT_FDCWD, "/tmp/escaped", O_CREAT | O_RDONLY, 0600);
  TRY("open-cut", SYS_openat, AT_FDCWD, secret, O_TRUNC | O_RDONLY, 0);
  TRY("openat2", SYS_openat2, AT_FDCWD, secret, &how, sizeof how);
  snprintf(path, sizeof path, "/proc/self/root%s", secret);
  TRY("open-by-root", SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
  snprintf(path, sizeof path, "/proc/%ld/mem", target);
  TRY("open-memory", SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
  snprintf(path, sizeof path, "/proc/%ld/environ", target);
  TRY("open-environment", SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
  TRY("open-shadow", SYS_openat, AT_FDCWD, "/etc/shadow", O_RDONLY, 0);
  TRY("open-by-handle", SYS_open_by_handle_at, AT_FDCWD, &byte, 0);
  TRY("truncate", SYS_truncate, secret, 0);
  TRY("unlink", SYS_unlinkat, AT_FDCWD, secret, 0);
  TRY("rename", SYS_renameat2, AT_FDCWD, secret, AT_FDCWD, "/tmp/escaped", 0);
  TRY("link", SYS_linkat, AT_FDCWD, secret, AT_FDCWD, "/tmp/escaped", 0);
  TRY("symlink", SYS_symlinkat, secret, AT_FDCWD, "/tmp/escaped");
  TRY("mkdir", SYS_mkdirat, AT_FDCWD, "/tmp/escaped", 0700);
  TRY("mknod", SYS_mknodat, AT_FDCWD, "/tmp/escaped", S_IFIFO, 0);
  TRY("fchmodat", SYS_fchmodat, AT_FDCWD, secret, 0777);
  TRY("fchownat", SYS_fchownat, AT_FDCWD, secret, 0, 0, 0);
  TRY("setxattr", SYS_setxattr, secret, "user.a", "b", 1, 0);
  TRY("mount", SYS_mount, "none", "/nowhere", "tmpfs", 0, 0);
  TRY("chroot", SYS_chroot, "/");
  TRY("inotify", SYS_inotify_init1, 0);

  // Memory and messages shared with others.
  TRY("shmget", SYS_shmget, 4711, 4096, 01600);
  TRY("msgget", SYS_msgget, 4711, 01600);
  TRY("semget", SYS_semget, 4711, 1, 01600);
  TRY("mq_open", SYS_mq_open, "/escaped", O_RDWR | O_CREAT, 0600, 0);
  TRY("memfd_create", SYS_memfd_create, "m", 0);
  TRY("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &path);
  TRY("socket-inet", SYS_socket, AF_INET, SOCK_STREAM, 0);
  TRY("socket-unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  TRY("socket-netlink", SYS_socket, AF_NETLINK, SOCK_RAW, 0);
  TRY("connect", SYS_connect, 0, &address, sizeof address);
  TRY("sendmsg", SYS_sendmsg, 0, &message, 0);
  TRY("sendto", SYS_sendto, 0, "x", 1, 0, &address, sizeof address);

  // The kernel, rights, and signals that it sends in our name.
  TRY("fcntl-setown", SYS_fcntl, 2, F_SETOWN, target);
  TRY("fcntl-setsig", SYS_fcntl, 2, 10, SIGKILL);
  TRY("ioctl-setown", SYS_ioctl, 2, 0x8901, &target);
  TRY("ioctl-type", SYS_ioctl, 2, TIOCSTI, "x");
  TRY("prctl-dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  TRY("prctl-ptracer", SYS_prctl, 0x59616d61, -1, 0, 0, 0);
  TRY("timer_create", SYS_timer_create, 0, 0, &path);
  TRY("io_uring", SYS_io_uring_setup, 1, path);
  TRY("bpf", SYS_bpf, 0, path, 8);
  TRY("userfaultfd", SYS_userfaultfd, 1);
  TRY("perf_event_open", SYS_perf_event_open, path, 0, -1, -1, 0);
  TRY("keyctl", SYS_keyctl, 0, -3, 0);
  TRY("personality", SYS_personality, 0x0040000);
  TRY("seccomp", SYS_seccomp, 2, 0, path);
  TRY("landlock", SYS_landlock_restrict_self, 0, 0);
  TRY("setresuid", SYS_setresuid, 0, 0, 0);
  TRY("setgroups", SYS_setgroups, -1, 0);
  TRY("capset", SYS_capset, 0, 0);
  TRY("clock_settime", SYS_clock_settime, 0, 0);
  TRY("sethostname", SYS_sethostname, 0, -1);
  TRY("init_module", SYS_init_module, 0, 0, "");
  TRY("reboot", SYS_reboot, 0, 0, 0, 0);

  pthread_t thread;
  if (pthread_create(&thread, NULL, in_thread, NULL) == 0) pthread_join(thread, NULL);
  else told("thread-open-secret", 0);

  // What a model needs goes on working.
  errno = 0;
  dprintf(2, "own-signal=%d\n", (int)syscall(SYS_tgkill, own, syscall(SYS_gettid), 0));
  dprintf(2, "own-limits=%d\n", (int)syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, &read));
  dprintf(2, "user=%d\n", (int)getuid());
  // The users of all threads: who started before the confinement has kept its former one.
  char text[4096];
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *task; tasks && (task = readdir(tasks));) {
    snprintf(path, sizeof path, "/proc/self/task/%.20s/status", task->d_name);
    int file = task->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
    if (file < 0) continue;
    ssize_t read_now = pread(file, text, sizeof text - 1, 0);
    text[read_now > 0 ? read_now : 0] = 0;
    char *line = strstr(text, "\nUid:\t");
    dprintf(2, "task-user=%ld\n", line ? atol(line + 6) : -1);
    close(file);
  }
  thread_bomb();
  dprintf(2, "tried\n");
}
