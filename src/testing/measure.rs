//! Memory that something takes. What is measured is the whole process, so such a test runs in one of its own.

/// Whether the test of this name runs by itself; otherwise it is run so, and its failure is this test's.
pub fn alone(name: &str) -> bool {
    const CHILD: &str = "PITHEAD_TEST_MEASURED";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let ended = std::process::Command::new(own).args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    false
}

/// Does something; gives what came of it, and how many bytes more than before were resident meanwhile.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // 5 resets the peak to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let done = work();
    (done, memory("VmHWM:").saturating_sub(before))
}

/// Peak of this process's resident memory in bytes (`VmHWM`), or what is resident now (`VmRSS`).
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
