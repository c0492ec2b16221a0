//! Confinement that a child process puts on itself before it touches an untrusted model.
//!
//! Resource limits and the seccomp filter are ordinary kernel features and work as root; landlock is used where the
//! kernel has it. What took effect is reported, so that an operator can see it. Nothing can be undone afterwards.

use std::{collections::BTreeMap, path::Path};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use serde::{Deserialize, Serialize};

use crate::error::{AppError, Result};

/// Address space allowed beyond [`Limits::memory_bytes`]: programs, libraries, thread arenas that are only reserved.
const ADDRESS_SLACK: u64 = 1 << 30;

/// Limits of a confined process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Private writable memory (`RLIMIT_DATA`) in bytes, ONNX Runtime's arena included. The whole address space
    /// (`RLIMIT_AS`) is held to this plus 1 GiB, because memory-mapped weights and reserved arenas count there.
    pub memory_bytes: u64,
    /// Processor time in seconds over all threads; 0 for no limit (a served app runs for months).
    pub cpu_seconds: u64,
    /// Open files.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu_seconds: 120, open_files: 256 }
    }
}

/// Parts of the confinement that took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `full`, `partial` or `none`.
    pub landlock: String,
    /// System calls are filtered.
    pub seccomp: bool,
    /// Resource limits are set.
    pub limits: bool,
    /// Why something did not take effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What the C library and ONNX Runtime read besides the given paths. None of it is secret.
const SYSTEM_PATHS: [&str; 12] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/urandom",
];

/// Confines the calling process for ever: limits, no core dump, no file writing, no network, no programs, no child
/// processes; reading only below `read_only` and the system's library folders where the kernel has landlock.
///
/// Call it before starting threads: the system call filter covers threads already running, landlock only the calling thread and those it
/// starts later. A process that serves a Unix socket binds and listens first: accepting stays allowed. Standard output and error must be
/// pipes, because writing to a file ends the process with `SIGXFSZ`. Fails with `sandbox-failed` only when a resource limit is refused;
/// landlock and seccomp are best effort and told in the result.
pub fn confine(limits: &Limits, read_only: &[&Path]) -> Result<Confinement> {
    let mut done = Confinement { landlock: "none".into(), ..Confinement::default() };
    set_limits(limits)?;
    done.limits = true;
    match restrict_files(read_only) {
        Ok(status) => done.landlock = status.into(),
        Err(message) => done.notes.push(format!("landlock: {message}")),
    }
    match filter_calls() {
        Ok(()) => done.seccomp = true,
        Err(message) => done.notes.push(format!("seccomp: {message}")),
    }
    Ok(done)
}

fn set_limits(limits: &Limits) -> Result<()> {
    let set = |resource, soft: u64, hard: u64| {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(|e| AppError::new("sandbox-failed", format!("setting the limit {resource:?} failed: {e}")))
    };
    set(Resource::Core, 0, 0)?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Nofile, limits.open_files, limits.open_files)?;
    if limits.cpu_seconds > 0 {
        // The soft limit sends SIGXCPU, which names the reason; the hard one kills.
        set(Resource::Cpu, limits.cpu_seconds, limits.cpu_seconds.saturating_add(2))?;
    }
    let space = limits.memory_bytes.saturating_add(ADDRESS_SLACK);
    set(Resource::Data, limits.memory_bytes, limits.memory_bytes)?;
    set(Resource::As, space, space)
}

fn restrict_files(read_only: &[&Path]) -> std::result::Result<&'static str, String> {
    let abi = ABI::V5;
    let status = (|| {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(
                SYSTEM_PATHS.iter().map(Path::new).chain(read_only.iter().copied()).filter(|p| p.exists()),
                AccessFs::from_read(abi),
            ))?
            .restrict_self()
    })()
    .map_err(|e: landlock::RulesetError| e.to_string())?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok("full"),
        RulesetStatus::PartiallyEnforced => Ok("partial"),
        RulesetStatus::NotEnforced => Err("this kernel does not have it".into()),
    }
}

// System call numbers are written out because they are fixed for ever per architecture
// (arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux).
#[cfg(target_arch = "x86_64")]
mod calls {
    pub const CLONE: i64 = 56;
    pub const CLONE3: i64 = 435;
    pub const OPEN: Option<i64> = Some(2);
    pub const OPENAT: i64 = 257;
    /// Network (socket, connect, bind, listen; sending on a socket already open stays allowed), programs and processes
    /// (execve, execveat, fork, vfork), other processes (ptrace, reading or writing their memory, kill, their file
    /// descriptors), mounts and namespaces, the kernel (modules, kexec, bpf, perf, reboot, swap, clock, asynchronous IO
    /// rings, keys, user fault handling, IO ports, files by handle), changes of the file tree (mkdir, rename, link, unlink,
    /// chmod, chown, mknod, truncate, creat, extended attributes) and openat2.
    pub const REFUSED: &[i64] = &[
        41, 42, 49, 50, 57, 58, 59, 322, 101, 310, 311, 62, 438, 424, 165, 166, 155, 161, 272, 308, 428, 429, 430, 432, 442, 175, 313, 176,
        246, 320, 321, 298, 169, 167, 168, 164, 227, 425, 426, 427, 248, 249, 250, 323, 172, 173, 304, 76, 82, 83, 84, 85, 86, 87, 88, 90,
        91, 92, 93, 94, 133, 258, 259, 260, 263, 264, 265, 266, 268, 316, 452, 188, 189, 190, 197, 198, 199, 437,
    ];
}
#[cfg(target_arch = "aarch64")]
mod calls {
    pub const CLONE: i64 = 220;
    pub const CLONE3: i64 = 435;
    pub const OPEN: Option<i64> = None;
    pub const OPENAT: i64 = 56;
    /// The same calls as on x86-64, as far as this architecture has them.
    pub const REFUSED: &[i64] = &[
        198, 203, 200, 201, 221, 281, 117, 270, 271, 129, 438, 424, 40, 39, 41, 51, 97, 268, 428, 429, 430, 432, 442, 105, 273, 106, 104,
        294, 280, 241, 142, 224, 225, 170, 112, 425, 426, 427, 217, 218, 219, 282, 265, 45, 33, 34, 35, 36, 37, 38, 52, 53, 54, 55, 276,
        452, 5, 6, 7, 14, 15, 16, 437,
    ];
}

const CLONE_THREAD: u64 = 0x0001_0000;
const O_CREAT: u64 = 0o100;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Installs two filters on all threads. clone3 hides its flags in memory, so it is answered with ENOSYS, whereupon the
/// C library uses clone, whose flags can be seen: threads pass, processes do not. openat2 (437) is refused for the same reason.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn filter_calls() -> std::result::Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| text(&e))?;
    let on = |argument, mask, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls::REFUSED.iter().map(|&n| (n, Vec::new())).collect();
    rules.insert(calls::CLONE, vec![on(0, CLONE_THREAD, 0).map_err(|e| text(&e))?]);
    rules.insert(calls::OPENAT, vec![on(2, O_CREAT, O_CREAT).map_err(|e| text(&e))?]);
    if let Some(open) = calls::OPEN {
        rules.insert(open, vec![on(1, O_CREAT, O_CREAT).map_err(|e| text(&e))?]);
    }
    let refuse = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch).map_err(|e| text(&e))?;
    let no_clone3 = [(calls::CLONE3, Vec::new())].into();
    let absent = SeccompFilter::new(no_clone3, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), arch).map_err(|e| text(&e))?;
    for filter in [refuse, absent] {
        let program: BpfProgram = filter.try_into().map_err(|e: seccompiler::BackendError| text(&e))?;
        seccompiler::apply_filter_all_threads(&program).map_err(|e| text(&e))?;
    }
    Ok(())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn filter_calls() -> std::result::Result<(), String> {
    Err("no filter for this architecture".into())
}
