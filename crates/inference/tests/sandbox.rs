//! The confinement from the inside: hostile native code in place of the engine, and kernels that lack a part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use inference::{check::CheckReport, sandbox, sandbox::Limits, worker};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use support::{Package, lib};

fn child() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().join("examples/check_child")
}

/// The threads of all confined children of one user are counted together: who tries to use them up is alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Builds `escapes.c` as a library in a folder of its own.
fn hostile_library(dir: &Path) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let library = dir.join("libescapes.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escapes.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success(), "a C compiler is needed");
    library
}

#[test]
fn hostile_code_in_place_of_the_engine_reaches_nothing() {
    let dir = std::env::temp_dir().join(format!("pithead-escapes-{}", std::process::id()));
    let library = hostile_library(&dir.join("engine"));
    let secret = dir.join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let mut target = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let package = Package::table("identity4.onnx");
    let limits = Limits::default();
    let alone = ALONE.lock().unwrap();
    let output = Command::new(child())
        .args([&package.dir, &library])
        .args([limits.memory_bytes, limits.cpu_seconds, limits.open_files, 1].map(|n| n.to_string()))
        .args(["cpu", "1"])
        .env_clear()
        .envs([("TARGET", target.id().to_string()), ("SECRET", secret.display().to_string())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    drop(alone);
    let alive = target.try_wait().unwrap().is_none();
    target.kill().unwrap();
    target.wait().unwrap();
    assert!(alive && std::fs::read(&secret).unwrap() == b"secret");
    std::fs::remove_dir_all(&dir).unwrap();

    let told = String::from_utf8_lossy(&output.stderr);
    let calls: BTreeMap<&str, i32> =
        told.lines().filter_map(|l| l.split_once(' ')).filter_map(|(n, e)| Some((n, e.parse().ok()?))).collect();
    assert!(calls.len() >= 85, "{told}");
    // EPERM, EACCES, ENOSYS: refused, not merely failed for its arguments.
    let passed: BTreeMap<_, _> = calls.iter().filter(|(_, errno)| ![1, 13, 38].contains(*errno)).collect();
    assert!(passed.is_empty(), "{passed:?}");
    let lines: BTreeSet<&str> = told.lines().collect();
    assert!(lines.contains("own-signal=0") && lines.contains("own-limits=0"), "{told}");
    let threads: u32 = told.lines().find_map(|l| l.strip_prefix("threads=")).unwrap().parse().unwrap();
    assert!((1..8_000).contains(&threads), "{threads}");
    let users: BTreeSet<&str> = told.lines().filter_map(|l| l.strip_prefix("task-user=")).collect();
    let expected = if rustix::process::geteuid().is_root() { "65534".to_owned() } else { rustix::process::geteuid().as_raw().to_string() };
    assert_eq!(users, BTreeSet::from([expected.as_str()]));
}

/// Checks a good package on a thread on which these calls fail as they do in kernels that lack them, and so in its children.
fn check_without(calls: &[(i64, u32)], required: bool) -> CheckReport {
    let calls = calls.to_vec();
    let work = move || {
        for (call, errno) in calls {
            let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
            let filter = SeccompFilter::new([(call, Vec::new())].into(), SeccompAction::Allow, SeccompAction::Errno(errno), arch).unwrap();
            seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        }
        let package = Package::table("identity4.onnx");
        package.write_yaml();
        worker::run_check(&child(), &[], &package.dir, &lib(), &Limits { required, ..Limits::default() }, Duration::from_mins(1))
    };
    std::thread::spawn(work).join().unwrap()
}

const NO_LANDLOCK: (i64, u32) = (libc::SYS_landlock_create_ruleset, 38);
const NO_FILTER: (i64, u32) = (libc::SYS_seccomp, 38);

#[test]
fn a_kernel_that_does_not_confine_is_refused_unless_allowed_by_name() {
    let _alone = ALONE.lock().unwrap();
    let whole = check_without(&[], true);
    let confinement = whole.confinement.clone().unwrap();
    assert!(whole.passed && confinement.landlock_abi > 0 && confinement.holds() && confinement.notes.is_empty(), "{confinement:?}");
    assert_eq!(confinement.user, if rustix::process::geteuid().is_root() { "separate" } else { "own" });

    for (lacking, word) in [(NO_LANDLOCK, "landlock"), (NO_FILTER, "seccomp")] {
        let refused = check_without(&[lacking], true);
        let last = refused.steps.last().unwrap();
        assert_eq!((refused.passed, last.reason.as_deref()), (false, Some("sandbox-failed")), "{word}");
        assert!(last.detail.as_ref().unwrap().contains(word), "{last:?}");
        let allowed = check_without(&[lacking], false);
        assert!(allowed.passed, "{allowed:?}");
        let confinement = allowed.confinement.unwrap();
        assert_eq!((confinement.landlock == "none", confinement.seccomp), (word == "landlock", word != "seccomp"));
        assert!(!confinement.holds());
        assert!(confinement.notes.iter().any(|note| note.starts_with(word)), "{confinement:?}");
    }
}

#[test]
fn a_process_with_threads_is_not_confined_in_part() {
    let refused = sandbox::confine(&Limits::default(), &[]).unwrap_err();
    assert_eq!(refused.code, "sandbox-failed");
    assert!(refused.message.contains("threads"), "{}", refused.message);
}
