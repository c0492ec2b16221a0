//! The system calls that a confined process may make. Everything that is not listed here fails with `EPERM`.
//!
//! The list is what the C library, Rust's library and ONNX Runtime need to load a model, to compute on several threads and to answer over
//! pipes and sockets that are open already. Nothing on it reaches another process, makes one, or changes a file.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// Calls allowed whatever their arguments: memory, reading files, threads and waiting, what the process asks about itself, the clock, and
/// serving sockets that were bound before.
const PLAIN: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fstat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
];

/// The older names that only x86-64 has for calls of [`PLAIN`]. `arch_prctl` asks for the wide registers of matrix units.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_access,
    libc::SYS_accept,
    libc::SYS_arch_prctl,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Flags of `open` that write, make or cut a file, in the numbers that all architectures share.
const WRITING: u64 = 0o1_103; // O_WRONLY | O_RDWR | O_CREAT | O_TRUNC
/// Requests of `ioctl` about the process's own descriptors: `TCGETS`, `FIONREAD`, `FIONBIO`, `FIOCLEX`. Others set who gets a signal
/// (`FIOSETOWN`) or type into a terminal (`TIOCSTI`).
const OWN_IOCTLS: [u64; 4] = [0x5401, 0x541b, 0x5421, 0x5451];
/// Commands of `fcntl`: duplicate, and read or set the flags of a descriptor. `F_SETOWN` would have the kernel send a signal to any process.
const OWN_FCNTLS: [u64; 5] = [0, 1, 2, 3, 1030]; // F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
/// Options of `prctl`: `PR_SET_NAME`, `PR_GET_NAME`, and `PR_SET_VMA`, by which the C library names memory.
const OWN_PRCTLS: [u64; 3] = [15, 16, 0x5356_4d41];
const CLONE_THREAD: u64 = 0x0001_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn when(argument: u8, test: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, test, value).map_err(text)
}

fn all_of(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions).map_err(text)
}

/// One rule for each of these values of an argument.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, String> {
    values.iter().map(|value| all_of(vec![when(argument, SeccompCmpOp::Eq, *value)?])).collect()
}

/// What is allowed, by the number of the call; an empty list of rules is any arguments. `own` is the id of this process: signals, limits
/// and processors of another one are out of reach. `kill(0, …)` is not allowed either, for it means all processes of the group.
fn allowed(own: u64) -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![all_of(vec![when(0, SeccompCmpOp::MaskedEq(CLONE_THREAD), CLONE_THREAD)?])?]);
    rules.insert(libc::SYS_openat, vec![all_of(vec![when(2, SeccompCmpOp::MaskedEq(WRITING), 0)?])?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![all_of(vec![when(1, SeccompCmpOp::MaskedEq(WRITING), 0)?])?]);
    rules.insert(libc::SYS_ioctl, one_of(1, &OWN_IOCTLS)?);
    rules.insert(libc::SYS_fcntl, one_of(1, &OWN_FCNTLS)?);
    rules.insert(libc::SYS_prctl, one_of(0, &OWN_PRCTLS)?);
    rules.insert(libc::SYS_kill, one_of(0, &[own])?);
    rules.insert(libc::SYS_tgkill, one_of(0, &[own])?);
    rules.insert(libc::SYS_sched_setaffinity, one_of(0, &[0, own])?);
    // Limits may be read, not set. A null pointer is all zero bits: both halves of the 64 bits are compared.
    let unset = || SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).map_err(text);
    let reads = |pid| all_of(vec![when(0, SeccompCmpOp::Eq, pid)?, unset()?]);
    rules.insert(libc::SYS_prlimit64, vec![reads(0)?, reads(own)?]);
    // Without an address: a socket of this process is answered, no other one is reached.
    let answer = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).map_err(text)?;
    rules.insert(libc::SYS_sendto, vec![all_of(vec![answer])?]);
    Ok(rules)
}

/// Installs the filter on all threads, for ever. `clone3` hides its flags in memory, so it is answered with `ENOSYS` by a filter of its
/// own, whereupon the C library uses `clone`, whose flags can be seen: threads pass, processes do not.
pub fn filter() -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(text)?;
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompFilter::new(no_clone3, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), arch).map_err(text)?;
    let mut listed = allowed(u64::from(std::process::id()))?;
    // The other filter answers this call: of two answers the kernel takes the stricter.
    listed.insert(libc::SYS_clone3, Vec::new());
    let listed = SeccompFilter::new(listed, SeccompAction::Errno(EPERM), SeccompAction::Allow, arch).map_err(text)?;
    // The list comes last: it does not allow to install filters.
    for filter in [absent, listed] {
        let program: BpfProgram = filter.try_into().map_err(|e: seccompiler::BackendError| text(e))?;
        seccompiler::apply_filter_all_threads(&program).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_reaches_another_process_or_a_file_is_listed() {
        let rules = allowed(4711).unwrap();
        for call in [
            libc::SYS_tkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_pidfd_getfd,
            libc::SYS_setpriority,
            libc::SYS_ioprio_set,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_shmget,
            libc::SYS_memfd_create,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_sendmsg,
            libc::SYS_execve,
            libc::SYS_ftruncate,
            libc::SYS_unlinkat,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            libc::SYS_setresuid,
            libc::SYS_seccomp,
        ] {
            assert!(!rules.contains_key(&call), "{call}");
        }
        for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_openat, libc::SYS_clone]
        {
            assert!(!rules[&call].is_empty(), "{call} has a condition");
        }
    }

    #[test]
    fn the_filter_compiles_for_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let filter = SeccompFilter::new(allowed(1).unwrap(), SeccompAction::Errno(EPERM), SeccompAction::Allow, arch).unwrap();
            assert!(BpfProgram::try_from(filter).is_ok());
        }
    }
}
