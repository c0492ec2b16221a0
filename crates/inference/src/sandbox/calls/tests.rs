//! The filters as the kernel reads them, for both architectures.

use super::*;

/// Calls that reach another process, make one, or change a file or the system.
const FORBIDDEN: &[Call] = calls![
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pidfd_getfd,
    SYS_setpriority,
    SYS_ioprio_set,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_kcmp,
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_semget,
    SYS_msgget,
    SYS_mq_open,
    SYS_memfd_create,
    SYS_memfd_secret,
    SYS_socket,
    SYS_socketpair,
    SYS_bind,
    SYS_connect,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_execve,
    SYS_execveat,
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_truncate,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_pwrite64,
    SYS_openat2,
    SYS_copy_file_range,
    SYS_splice,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_setup,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_setuid,
    SYS_setresuid,
    SYS_setgroups,
    SYS_capset,
    SYS_seccomp,
    SYS_keyctl,
    SYS_add_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_personality,
    SYS_landlock_create_ruleset,
    SYS_inotify_init1,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
];

/// Numbers of aarch64 (`asm-generic/unistd.h`) of all calls that are named here or in the list.
#[rustfmt::skip]
const AARCH64: &[Call] = &[
    ("SYS_io_setup", 0),
    ("SYS_getcwd", 17),
    ("SYS_fcntl", 25),
    ("SYS_inotify_init1", 26),
    ("SYS_ioctl", 29),
    ("SYS_ioprio_set", 30),
    ("SYS_flock", 32),
    ("SYS_mknodat", 33),
    ("SYS_mkdirat", 34),
    ("SYS_unlinkat", 35),
    ("SYS_symlinkat", 36),
    ("SYS_linkat", 37),
    ("SYS_umount2", 39),
    ("SYS_mount", 40),
    ("SYS_pivot_root", 41),
    ("SYS_truncate", 45),
    ("SYS_ftruncate", 46),
    ("SYS_fallocate", 47),
    ("SYS_faccessat", 48),
    ("SYS_chroot", 51),
    ("SYS_fchmodat", 53),
    ("SYS_fchownat", 54),
    ("SYS_openat", 56),
    ("SYS_close", 57),
    ("SYS_getdents64", 61),
    ("SYS_lseek", 62),
    ("SYS_read", 63),
    ("SYS_write", 64),
    ("SYS_readv", 65),
    ("SYS_writev", 66),
    ("SYS_pread64", 67),
    ("SYS_pwrite64", 68),
    ("SYS_preadv", 69),
    ("SYS_ppoll", 73),
    ("SYS_splice", 76),
    ("SYS_readlinkat", 78),
    ("SYS_newfstatat", 79),
    ("SYS_fstat", 80),
    ("SYS_capset", 91),
    ("SYS_personality", 92),
    ("SYS_exit", 93),
    ("SYS_exit_group", 94),
    ("SYS_set_tid_address", 96),
    ("SYS_unshare", 97),
    ("SYS_futex", 98),
    ("SYS_set_robust_list", 99),
    ("SYS_nanosleep", 101),
    ("SYS_kexec_load", 104),
    ("SYS_init_module", 105),
    ("SYS_clock_settime", 112),
    ("SYS_clock_gettime", 113),
    ("SYS_clock_getres", 114),
    ("SYS_clock_nanosleep", 115),
    ("SYS_ptrace", 117),
    ("SYS_sched_setaffinity", 122),
    ("SYS_sched_getaffinity", 123),
    ("SYS_sched_yield", 124),
    ("SYS_restart_syscall", 128),
    ("SYS_kill", 129),
    ("SYS_tkill", 130),
    ("SYS_tgkill", 131),
    ("SYS_sigaltstack", 132),
    ("SYS_rt_sigaction", 134),
    ("SYS_rt_sigprocmask", 135),
    ("SYS_rt_sigqueueinfo", 138),
    ("SYS_rt_sigreturn", 139),
    ("SYS_setpriority", 140),
    ("SYS_reboot", 142),
    ("SYS_setuid", 146),
    ("SYS_setresuid", 147),
    ("SYS_setgroups", 159),
    ("SYS_uname", 160),
    ("SYS_getrusage", 165),
    ("SYS_prctl", 167),
    ("SYS_getcpu", 168),
    ("SYS_gettimeofday", 169),
    ("SYS_settimeofday", 170),
    ("SYS_getpid", 172),
    ("SYS_getppid", 173),
    ("SYS_getuid", 174),
    ("SYS_geteuid", 175),
    ("SYS_getgid", 176),
    ("SYS_getegid", 177),
    ("SYS_gettid", 178),
    ("SYS_sysinfo", 179),
    ("SYS_mq_open", 180),
    ("SYS_msgget", 186),
    ("SYS_semget", 190),
    ("SYS_shmget", 194),
    ("SYS_shmctl", 195),
    ("SYS_shmat", 196),
    ("SYS_socket", 198),
    ("SYS_socketpair", 199),
    ("SYS_bind", 200),
    ("SYS_connect", 203),
    ("SYS_sendto", 206),
    ("SYS_recvfrom", 207),
    ("SYS_getsockopt", 209),
    ("SYS_shutdown", 210),
    ("SYS_sendmsg", 211),
    ("SYS_brk", 214),
    ("SYS_munmap", 215),
    ("SYS_mremap", 216),
    ("SYS_add_key", 217),
    ("SYS_keyctl", 219),
    ("SYS_clone", 220),
    ("SYS_execve", 221),
    ("SYS_mmap", 222),
    ("SYS_mprotect", 226),
    ("SYS_madvise", 233),
    ("SYS_rt_tgsigqueueinfo", 240),
    ("SYS_perf_event_open", 241),
    ("SYS_accept4", 242),
    ("SYS_prlimit64", 261),
    ("SYS_name_to_handle_at", 264),
    ("SYS_open_by_handle_at", 265),
    ("SYS_setns", 268),
    ("SYS_sendmmsg", 269),
    ("SYS_process_vm_readv", 270),
    ("SYS_process_vm_writev", 271),
    ("SYS_kcmp", 272),
    ("SYS_finit_module", 273),
    ("SYS_renameat2", 276),
    ("SYS_seccomp", 277),
    ("SYS_getrandom", 278),
    ("SYS_memfd_create", 279),
    ("SYS_bpf", 280),
    ("SYS_execveat", 281),
    ("SYS_userfaultfd", 282),
    ("SYS_copy_file_range", 285),
    ("SYS_statx", 291),
    ("SYS_rseq", 293),
    ("SYS_pidfd_send_signal", 424),
    ("SYS_io_uring_setup", 425),
    ("SYS_io_uring_enter", 426),
    ("SYS_io_uring_register", 427),
    ("SYS_pidfd_open", 434),
    ("SYS_clone3", 435),
    ("SYS_openat2", 437),
    ("SYS_pidfd_getfd", 438),
    ("SYS_faccessat2", 439),
    ("SYS_process_madvise", 440),
    ("SYS_landlock_create_ruleset", 444),
    ("SYS_memfd_secret", 447),
];

const OWN: u64 = 4_711;
const OTHER: u64 = 4_712;
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// Both filters for an architecture, with the numbers that it has for the names.
struct Filters {
    /// What the kernel calls the architecture.
    audit: u32,
    programs: [BpfProgram; 2],
    number: fn(Call) -> Option<i64>,
}

impl Filters {
    fn of(arch: TargetArch, audit: u32, number: fn(Call) -> Option<i64>) -> Self {
        let listed = allowed(OWN, Programs::None).unwrap().into_iter().filter_map(|(call, rules)| Some((number(call)?, rules))).collect();
        let clone3 = number(("SYS_clone3", libc::SYS_clone3)).unwrap();
        Self { audit, programs: filters(arch, clone3, listed).unwrap(), number }
    }

    /// Those of this machine, and those of aarch64 by the table.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::of(TargetArch::aarch64, 0xc000_00b7, |(name, _)| {
            AARCH64.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
        })];
        if cfg!(target_arch = "x86_64") {
            all.push(Self::of(TargetArch::x86_64, 0xc000_003e, |(_, number)| Some(number)));
        }
        all
    }

    /// What the kernel does: of two answers the stricter.
    fn answer(&self, arch: u32, number: i64, arguments: [u64; 6]) -> u32 {
        let answers = self.programs.iter().map(|program| run(program, u32::try_from(number).unwrap(), arch, arguments));
        answers.min_by_key(|answer| answer.cast_signed()).unwrap()
    }

    fn passes(&self, number: i64, arguments: [u64; 6]) -> bool {
        self.answer(self.audit, number, arguments) == ALLOW
    }
}

/// Runs a filter over a call. Instructions that seccompiler does not make are none here.
fn run(program: &BpfProgram, number: u32, arch: u32, arguments: [u64; 6]) -> u32 {
    let mut data = vec![number, arch, 0, 0];
    data.extend(arguments.iter().flat_map(|argument| [argument & 0xffff_ffff, argument >> 32].map(|half| u32::try_from(half).unwrap())));
    let (mut at, mut register) = (0usize, 0u32);
    loop {
        let step = &program[at];
        let mut jump = |holds: bool| at += usize::from(if holds { step.jt } else { step.jf });
        match step.code {
            0x20 => register = data[step.k as usize / 4],
            0x54 => register &= step.k,
            0x05 => at += step.k as usize,
            0x15 => jump(register == step.k),
            0x25 => jump(register > step.k),
            0x35 => jump(register >= step.k),
            0x06 => return step.k,
            other => panic!("instruction {other:#x}"),
        }
        at += 1;
    }
}

/// The arguments of a call.
type Arguments = [u64; 6];

/// Calls with a condition: arguments that pass, and some that do not.
fn conditional() -> Vec<(Call, Vec<Arguments>, Vec<Arguments>)> {
    let at = |place: usize, value: u64| {
        let mut arguments = [0; 6];
        arguments[place] = value;
        arguments
    };
    let each = |place: usize, values: &[u64]| values.iter().map(|value| at(place, *value)).collect::<Vec<_>>();
    let limit = |process: u64, set: u64| [process, 7, set, 0, 0, 0];
    let one = |call: &[Call], good, bad| (call[0], good, bad);
    vec![
        one(calls![SYS_clone], each(0, &[0x0001_0000, 0x003d_0f00]), each(0, &[0, 17, 0x4000])),
        // O_RDONLY, with O_CLOEXEC; O_WRONLY, O_RDWR, O_CREAT, O_TRUNC.
        one(calls![SYS_openat], each(2, &[0, 0o2_000_000]), each(2, &[1, 2, 0o100, 0o1_000])),
        one(calls![SYS_ioctl], each(1, &OWN_IOCTLS), each(1, &[0, 0x5412, 0x8901])),
        one(calls![SYS_fcntl], each(1, &OWN_FCNTLS), each(1, &[4, 8, 10, 1_031, 1_033])),
        one(
            calls![SYS_prctl],
            [each(0, &OWN_PRCTLS), vec![[1, 9, 0, 0, 0, 0]]].concat(),
            [each(0, &[1, 4, 22, 24, 38]), vec![[1, 15, 0, 0, 0, 0]]].concat(),
        ),
        one(calls![SYS_kill], each(0, &[OWN]), each(0, &[0, OTHER, u64::MAX])),
        one(calls![SYS_tgkill], each(0, &[OWN]), each(0, &[0, OTHER, u64::MAX])),
        one(calls![SYS_sched_setaffinity], each(0, &[0, OWN]), each(0, &[OTHER])),
        one(
            calls![SYS_prlimit64],
            vec![limit(0, 0), limit(OWN, 0)],
            vec![limit(OTHER, 0), limit(0, 1), limit(OWN, 1 << 40), limit(OTHER, 1)],
        ),
        one(calls![SYS_sendto], each(4, &[0]), each(4, &[1, 1 << 40])),
    ]
}

#[test]
fn exactly_what_is_listed_passes_on_both_architectures() {
    for filters in Filters::all() {
        let conditions = conditional();
        let number = |call: Call| (filters.number)(call);
        let mut listed: Vec<i64> = PLAIN.iter().filter_map(|call| number(*call)).collect();
        assert_eq!(listed.len(), PLAIN.len(), "each name has a number");
        for plain in listed.clone() {
            assert!(filters.passes(plain, [0; 6]) && filters.passes(plain, [u64::MAX; 6]), "{plain}");
        }
        for (call, good, bad) in &conditions {
            let number = number(*call).unwrap();
            assert!(good.iter().all(|arguments| filters.passes(number, *arguments)), "{call:?}");
            for arguments in bad {
                assert_eq!(filters.answer(filters.audit, number, *arguments), ERRNO | EPERM, "{call:?} {arguments:?}");
            }
            listed.push(number);
        }
        if filters.audit == 0xc000_003e {
            listed.extend(OLDER.iter().chain(calls![SYS_clone3]).map(|(_, number)| *number));
            #[cfg(target_arch = "x86_64")]
            listed.push(libc::SYS_open);
        }
        let clone3 = number(("SYS_clone3", libc::SYS_clone3)).unwrap();
        assert_eq!(filters.answer(filters.audit, clone3, [0; 6]), ERRNO | ENOSYS);
        let tried: Vec<[u64; 6]> = conditions.iter().flat_map(|(_, good, _)| good.clone()).chain([[0; 6], [u64::MAX; 6]]).collect();
        for number in (0..1_024).filter(|number| *number != clone3) {
            let passes = tried.iter().any(|arguments| filters.passes(number, *arguments));
            assert_eq!(passes, listed.contains(&number), "call {number} of {:#x}", filters.audit);
        }
        for call in FORBIDDEN {
            let number = number(*call).unwrap();
            for arguments in &tried {
                assert_eq!(filters.answer(filters.audit, number, *arguments), ERRNO | EPERM, "{call:?}");
            }
        }
    }
}

#[test]
fn calls_of_another_architecture_end_the_process() {
    for filters in Filters::all() {
        for audit in [0x4000_0003, 0x4000_0028, 0xc000_00b7, 0xc000_003e] {
            let read = (filters.number)(("SYS_read", libc::SYS_read)).unwrap();
            assert_eq!(filters.answer(audit, read, [0; 6]), if audit == filters.audit { ALLOW } else { KILL });
        }
        // The numbers of x32 programs.
        assert!((0..1_024).all(|number| !filters.passes(0x4000_0000 | number, [0; 6])));
    }
}

#[test]
#[cfg(target_arch = "aarch64")]
fn the_table_is_that_of_this_machine() {
    for (name, number) in allowed(OWN, Programs::None).unwrap().into_iter().map(|(call, _)| call).chain(FORBIDDEN.iter().copied()) {
        assert!(AARCH64.contains(&(name, number)), "{name} is {number}");
    }
}
