//! The system calls that a confined process may make. Everything that is not listed here fails with `EPERM`.
//!
//! The list is what the C library, Rust's library and ONNX Runtime need to load a model, to compute on several threads and to answer over
//! pipes and sockets that are open already. Nothing on it reaches another process, makes one, or changes a file.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// Name and number of a call on this architecture.
type Call = (&'static str, i64);

macro_rules! calls {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Calls allowed whatever their arguments: memory, reading files, threads and waiting, what the process asks about itself, the clock, and
/// serving sockets that were bound before.
const PLAIN: &[Call] = calls![
    SYS_brk,
    SYS_madvise,
    SYS_mmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_munmap,
    SYS_close,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fstat,
    SYS_getcwd,
    SYS_getdents64,
    SYS_lseek,
    SYS_newfstatat,
    SYS_pread64,
    SYS_preadv,
    SYS_read,
    SYS_readlinkat,
    SYS_readv,
    SYS_statx,
    SYS_write,
    SYS_writev,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_sigaltstack,
    SYS_getcpu,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getpid,
    SYS_getppid,
    SYS_getrandom,
    SYS_getrusage,
    SYS_gettid,
    SYS_getuid,
    SYS_sysinfo,
    SYS_uname,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_gettimeofday,
    SYS_nanosleep,
    SYS_accept4,
    SYS_getsockopt,
    SYS_ppoll,
    SYS_recvfrom,
    SYS_shutdown,
];

/// The older names that only x86-64 has for calls of [`PLAIN`]. `arch_prctl` asks for the wide registers of matrix units.
#[cfg(target_arch = "x86_64")]
const OLDER: &[Call] =
    calls![SYS_access, SYS_accept, SYS_arch_prctl, SYS_getrlimit, SYS_lstat, SYS_poll, SYS_readlink, SYS_stat, SYS_time,];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[Call] = &[];

/// Flags of `open` that write, make or cut a file, in the numbers that all architectures share.
const WRITING: u64 = 0o1_103; // O_WRONLY | O_RDWR | O_CREAT | O_TRUNC
/// Requests of `ioctl` about the process's own descriptors: `TCGETS`, `FIONREAD`, `FIONBIO`, `FIOCLEX`. Others set who gets a signal
/// (`FIOSETOWN`) or type into a terminal (`TIOCSTI`).
const OWN_IOCTLS: [u64; 4] = [0x5401, 0x541b, 0x5421, 0x5451];
/// Commands of `fcntl`: duplicate, and read or set the flags of a descriptor. `F_SETOWN` would have the kernel send a signal to any process.
const OWN_FCNTLS: [u64; 5] = [0, 1, 2, 3, 1030]; // F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
/// Options of `prctl`: `PR_SET_NAME`, `PR_GET_NAME`, and `PR_SET_VMA`, by which the C library names memory.
const OWN_PRCTLS: [u64; 3] = [15, 16, 0x5356_4d41];
/// `prctl` by which a process ends with the thread that started it, and nothing else: `PR_SET_PDEATHSIG`, `SIGKILL`.
const END_WITH_PARENT: [u64; 2] = [1, 9];
/// Operations of `flock`, none of which waits: shared, alone, give back. Who measures keeps others of its kind from working meanwhile
/// (`measure::Turns`); those wait a while and go on.
const TURNS: [u64; 3] = [5, 6, 8]; // LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB, LOCK_UN
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

/// Whether the process may become another program. That one is as confined, and it is still no second process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    None,
    Become,
}

/// What is allowed; an empty list of rules is any arguments. `own` is the id of this process: signals, limits and processors of another one
/// are out of reach. `kill(0, …)` is not allowed either, for it means all processes of the group.
fn allowed(own: u64, programs: Programs) -> Result<Vec<(Call, Vec<SeccompRule>)>, String> {
    let mut rules: Vec<(Call, Vec<SeccompRule>)> = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let mut insert = |call: &[Call], conditions: Vec<SeccompRule>| rules.extend(call.iter().map(|call| (*call, conditions.clone())));
    insert(calls![SYS_clone], vec![all_of(vec![when(0, SeccompCmpOp::MaskedEq(CLONE_THREAD), CLONE_THREAD)?])?]);
    insert(calls![SYS_openat], vec![all_of(vec![when(2, SeccompCmpOp::MaskedEq(WRITING), 0)?])?]);
    #[cfg(target_arch = "x86_64")]
    insert(calls![SYS_open], vec![all_of(vec![when(1, SeccompCmpOp::MaskedEq(WRITING), 0)?])?]);
    insert(calls![SYS_ioctl], one_of(1, &OWN_IOCTLS)?);
    insert(calls![SYS_fcntl], one_of(1, &OWN_FCNTLS)?);
    let [option, signal] = END_WITH_PARENT;
    let end_with_parent = all_of(vec![when(0, SeccompCmpOp::Eq, option)?, when(1, SeccompCmpOp::Eq, signal)?])?;
    insert(calls![SYS_prctl], one_of(0, &OWN_PRCTLS)?.into_iter().chain([end_with_parent]).collect());
    insert(calls![SYS_flock], one_of(1, &TURNS)?);
    insert(calls![SYS_kill, SYS_tgkill], one_of(0, &[own])?);
    insert(calls![SYS_sched_setaffinity], one_of(0, &[0, own])?);
    // Limits may be read, not set. A null pointer is all zero bits: both halves of the 64 bits are compared.
    let unset = || SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).map_err(text);
    let reads = |pid| all_of(vec![when(0, SeccompCmpOp::Eq, pid)?, unset()?]);
    insert(calls![SYS_prlimit64], vec![reads(0)?, reads(own)?]);
    // Without an address: a socket of this process is answered, no other one is reached.
    let answer = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).map_err(text)?;
    insert(calls![SYS_sendto], vec![all_of(vec![answer])?]);
    if programs == Programs::Become {
        // `dup` is `fcntl` with `F_DUPFD`: ffmpeg asks so for its standard input.
        insert(calls![SYS_execve, SYS_dup], Vec::new());
    }
    // The other filter answers this call: of two answers the kernel takes the stricter.
    insert(calls![SYS_clone3], Vec::new());
    Ok(rules)
}

/// The two filters, in the order of their installation: the list comes last, for it does not allow to install filters. `clone3` hides its
/// flags in memory, so it is answered with `ENOSYS` by a filter of its own, whereupon the C library uses `clone`, whose flags can be seen:
/// threads pass, processes do not.
fn filters(arch: TargetArch, clone3: i64, listed: BTreeMap<i64, Vec<SeccompRule>>) -> Result<[BpfProgram; 2], String> {
    let no_clone3 = BTreeMap::from([(clone3, Vec::new())]);
    let absent = SeccompFilter::new(no_clone3, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), arch).map_err(text)?;
    let listed = SeccompFilter::new(listed, SeccompAction::Errno(EPERM), SeccompAction::Allow, arch).map_err(text)?;
    let program = |filter: SeccompFilter| BpfProgram::try_from(filter).map_err(text);
    Ok([program(absent)?, program(listed)?])
}

/// Installs the filters on all threads, for ever.
pub fn filter(programs: Programs) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(text)?;
    let listed = allowed(u64::from(std::process::id()), programs)?.into_iter().map(|((_, number), rules)| (number, rules)).collect();
    for program in filters(arch, libc::SYS_clone3, listed)? {
        seccompiler::apply_filter_all_threads(&program).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
