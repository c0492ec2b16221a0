//! Confinement that a child process puts on itself before it touches an untrusted model.
//!
//! Four layers, from the outside in: resource limits; landlock, which bounds files, signals and sockets; another user, where the process
//! is root; and a list of system calls, without which nothing else of the kernel is reached. A kernel that lacks landlock or the filter
//! is refused unless the caller says otherwise by name. What took effect is reported. Nothing can be undone afterwards.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

use self::calls::Programs;
use crate::error::{AppError, Result};

mod calls;

/// Address space allowed beyond [`Limits::memory_bytes`]: programs, libraries, thread arenas that are only reserved.
const ADDRESS_SLACK: u64 = 1 << 30;

/// Threads that the user of a confined process may have beyond those that it has when the process is confined: the kernel counts them by user,
/// over all its processes. Far more than an engine starts, and few enough that the machine goes on.
const THREADS: u64 = 4096;

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
    /// Refuses to go on where the kernel does not confine files and system calls.
    pub required: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu_seconds: 120, open_files: 256, required: true }
    }
}

/// User and group of a confined child whose parent is root: `nobody`. Nothing belongs to it.
const NOBODY: u32 = 65_534;

/// Parts of the confinement that took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `full`, `partial` (a kernel that knows fewer rights) or `none`.
    pub landlock: String,
    /// Version of landlock's interface in the kernel; 0 without landlock. From 6 on, signals and abstract sockets are confined, too.
    #[serde(default)]
    pub landlock_abi: u32,
    /// Only the listed system calls are allowed.
    pub seccomp: bool,
    /// Resource limits are set.
    pub limits: bool,
    /// `separate` where the process left root for a user without rights, `own` where it kept its user. Empty in reports of older versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Why something did not take effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Confinement {
    /// Whether both files and system calls are confined, the least that is asked for.
    pub fn holds(&self) -> bool {
        self.landlock != "none" && self.seccomp
    }
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
/// processes, no signal to others; reading only below `read_only` and the system's library folders where the kernel has landlock.
///
/// Call it before any thread starts: landlock and the other user take hold of the calling thread and those that it starts later, so a
/// process that has others is refused. A process that serves a Unix socket binds and listens first: accepting stays allowed. Standard
/// output and error must be pipes, because writing to a file ends the process with `SIGXFSZ`. Fails with `sandbox-failed`.
pub fn confine(limits: &Limits, read_only: &[&Path]) -> Result<Confinement> {
    confine_to(limits, read_only, Programs::None)
}

/// Confines the calling process as [`confine`] does, and becomes another program, which lies below `read_only` and is confined by the same from
/// its first instruction. Returns only if that fails: codes `sandbox-failed`, `program-not-started`.
pub fn become_program(limits: &Limits, read_only: &[&Path], program: &mut Command) -> AppError {
    match confine_to(limits, read_only, Programs::Become) {
        Ok(_) => {
            let error = program.exec();
            AppError::new("program-not-started", format!("{}: {error}", program.get_program().display()))
        }
        Err(e) => e,
    }
}

fn confine_to(limits: &Limits, read_only: &[&Path], programs: Programs) -> Result<Confinement> {
    let failed = |message: String| AppError::new("sandbox-failed", message);
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(failed(format!("the process has {threads} threads, one is needed")));
    }
    let mut done = Confinement { landlock: "none".into(), ..Confinement::default() };
    set_limits(limits)?;
    done.limits = true;
    match restrict_files(read_only) {
        Ok((status, abi)) => (done.landlock, done.landlock_abi) = (status.into(), abi),
        Err(message) => done.notes.push(format!("landlock: {message}")),
    }
    match leave_root() {
        Ok(user) => user.clone_into(&mut done.user),
        Err(e) => {
            done.user = "own".into();
            done.notes.push(format!("user: {e}"));
        }
    }
    match calls::filter(programs) {
        Ok(()) => done.seccomp = true,
        Err(message) => done.notes.push(format!("seccomp: {message}")),
    }
    if limits.required && !done.holds() {
        return Err(failed(format!(
            "this system cannot confine a model ({}), and running it all the same is not allowed",
            done.notes.join("; ")
        )));
    }
    Ok(done)
}

/// Leaves root for [`NOBODY`], so that the kernel itself refuses what concerns processes and files of others. Reading files whatever their
/// mode is the one right kept: packages and the engine lie in folders that only the parent may enter, and landlock bounds what is read.
/// Where the caller goes on without landlock nothing does, but without that right the child of a root could not read its app at all. Gives
/// `separate`, or `own` where the process is not root.
fn leave_root() -> rustix::io::Result<&'static str> {
    let none = CapabilitySet::empty();
    let keep = |kept| CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    if !geteuid().is_root() {
        set_capabilities(None, keep(none))?;
        return Ok("own");
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    set_capabilities(None, keep(CapabilitySet::DAC_READ_SEARCH))?;
    Ok("separate")
}

fn set_limits(limits: &Limits) -> Result<()> {
    let set = |resource, soft: u64, hard: u64| {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(|e| AppError::new("sandbox-failed", format!("setting the limit {resource:?} failed: {e}")))
    };
    set(Resource::Core, 0, 0)?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Nofile, limits.open_files, limits.open_files)?;
    // It holds for nobody who is still root afterwards, where the kernel did not let the process leave it ([`leave_root`]).
    let user = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    let threads = threads_of(user).saturating_add(THREADS);
    set(Resource::Nproc, threads, threads)?;
    if limits.cpu_seconds > 0 {
        // The soft limit sends SIGXCPU, which names the reason; the hard one kills.
        set(Resource::Cpu, limits.cpu_seconds, limits.cpu_seconds.saturating_add(2))?;
    }
    let space = limits.memory_bytes.saturating_add(ADDRESS_SLACK);
    set(Resource::Data, limits.memory_bytes, limits.memory_bytes)?;
    set(Resource::As, space, space)
}

/// Threads of a user on this machine, as far as they can be seen; 0 where none can.
fn threads_of(user: u32) -> u64 {
    let number = |status: &str, name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    let own = processes.filter_map(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        (number(&status, "Uid:")? == u64::from(user)).then(|| number(&status, "Threads:"))?
    });
    own.sum()
}

/// How far landlock holds, and its version in the kernel.
fn restrict_files(read_only: &[&Path]) -> std::result::Result<(&'static str, u32), String> {
    let abi = ABI::V6;
    let status = (|| {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(
                SYSTEM_PATHS.iter().map(Path::new).chain(read_only.iter().copied()).filter(|p| p.exists()),
                AccessFs::from_read(abi),
            ))?
            .restrict_self()
    })()
    .map_err(|e: landlock::RulesetError| e.to_string())?;
    let known = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    };
    let known = u32::try_from(known).unwrap_or(0);
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(("full", known)),
        RulesetStatus::PartiallyEnforced => Ok(("partial", known)),
        RulesetStatus::NotEnforced => Err("this kernel does not have it".into()),
    }
}
