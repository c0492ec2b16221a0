use super::*;
use crate::testing::Scratch;

fn sequences(outbox: &Outbox) -> Vec<u64> {
    let Some((text, _)) = outbox.batch() else { return Vec::new() };
    let value: Value = serde_json::from_str(&text).unwrap();
    value["reports"].as_array().unwrap().iter().map(|r| r["sequence"].as_u64().unwrap()).collect()
}

fn push(outbox: &Outbox, kind: Kind, fields: &[(&str, &str)]) -> Kept {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    outbox.push(kind, Utc::now(), fields.collect::<Map<_, _>>()).unwrap()
}

fn number(kept: Kept) -> u64 {
    let Kept::Stored(number) = kept else { panic!("{kept:?}") };
    number
}

fn alarm(outbox: &Outbox) -> u64 {
    number(push(outbox, Kind::Alarm, &[("rule", "r")]))
}

fn critical(outbox: &Outbox) -> u64 {
    number(push(outbox, Kind::Alarm, &[("rule", "r"), ("level", "critical")]))
}

fn counts(outbox: &Outbox) -> (usize, usize, u64) {
    let counts = outbox.counts();
    (counts.heartbeats, counts.alarms, counts.dropped)
}

#[test]
fn a_critical_alarm_overtakes_and_loses_nothing() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!([alarm(&outbox), alarm(&outbox), critical(&outbox), alarm(&outbox)], [1, 2, 3, 4]);
    push(&outbox, Kind::Heartbeat, &[]);
    assert_eq!(sequences(&outbox), [3, 5], "heartbeats go with it");
    outbox.accepted(5, &[3, 5]);
    assert_eq!(sequences(&outbox), [1, 2, 4]);
    // What overtook the others is known as taken after a restart.
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(sequences(&outbox), [1, 2, 4]);
    // The server has room for the first only, then for nothing.
    outbox.accepted(1, &[1, 2, 4]);
    outbox.accepted(0, &[2, 4]);
    assert_eq!((sequences(&outbox), counts(&outbox)), (vec![2, 4], (0, 2, 0)));
    drop(outbox);
    assert_eq!(sequences(&Outbox::open(&path).unwrap()), [2, 4]);
    assert_eq!(alarm(&Outbox::open(&path).unwrap()), 6);
}

#[test]
fn survives_a_restart_and_never_reuses_a_number() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!((alarm(&outbox), alarm(&outbox), alarm(&outbox)), (1, 2, 3));
    outbox.accepted(2, &[1, 2, 3]);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(sequences(&outbox), [3]);
    outbox.accepted(3, &[3]);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(sequences(&outbox), Vec::<u64>::new());
    assert_eq!(alarm(&outbox), 4);
    // A number that was never given out is not believed.
    outbox.accepted(u64::MAX, &[u64::MAX]);
    assert_eq!(alarm(&outbox), 5);
    assert_eq!(sequences(&outbox), [4, 5]);
}

#[test]
fn a_server_that_claims_too_much_drops_nothing_unsent() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    alarm(&outbox);
    alarm(&outbox);
    let (_, sent) = outbox.batch().unwrap();
    // The third alarm is raised while the request is on its way.
    assert_eq!((sent.clone(), alarm(&outbox)), (vec![1, 2], 3));
    outbox.accepted(u64::MAX, &sent);
    assert_eq!(sequences(&outbox), [3]);
    outbox.accepted(3, &sent);
    assert_eq!(sequences(&outbox), [3]);
    drop(outbox);
    assert_eq!(sequences(&Outbox::open(&path).unwrap()), [3]);
}

#[test]
fn a_torn_line_is_dropped() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    alarm(&Outbox::open(&path).unwrap());
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"sequence\":2,\"kind\":\"al").unwrap();
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(sequences(&outbox), [1]);
}

#[test]
fn heartbeats_are_few() {
    let dir = Scratch::new();
    let outbox = Outbox::open(&dir.path().join("o")).unwrap();
    alarm(&outbox);
    for _ in 0..10 {
        push(&outbox, Kind::Heartbeat, &[]);
    }
    assert_eq!(counts(&outbox), (MAX_HEARTBEATS, 1, 0));
    assert_eq!(sequences(&outbox), [1, 8, 9, 10, 11]);
}

fn filled(waiting: VecDeque<Waiting>) -> Inner {
    let next = waiting.len() as u64 + 1;
    let rates = rates::Rates::default();
    Inner {
        file: None,
        refused: None,
        mark: mark::MarkFile::default(),
        rates,
        suppressed: 0,
        lines: 0,
        bytes: 0,
        next,
        accepted: 0,
        dropped: 0,
        waiting,
    }
}

fn of_rule(sequence: u64, rule: &str, critical: bool) -> Waiting {
    Waiting { sequence, kind: Kind::Alarm, critical, rule: rule.into(), stored: true, text: "{}".into() }
}

#[test]
fn alarms_are_bounded_and_the_loss_is_counted() {
    let mut inner = filled((1..=10_002).map(|n| of_rule(n, "d/r", n == 1)).collect());
    trim(&mut inner);
    let first = [inner.waiting[0].sequence, inner.waiting[1].sequence];
    assert_eq!((inner.waiting.len(), inner.dropped, first), (MAX_ALARMS, 2, [1, 4]), "the critical one stays");
}

#[test]
fn a_flood_costs_the_rule_that_makes_it() {
    // The oldest are of a rule that raised few; the flood came after them.
    let few = (1..=5).map(|n| of_rule(n, "d/fire", false));
    let mut inner = filled(few.chain((6..=10_010).map(|n| of_rule(n, "d/flood", false))).collect());
    trim(&mut inner);
    assert_eq!((inner.waiting.len(), inner.dropped), (MAX_ALARMS, 10));
    assert!(inner.waiting.iter().take(5).all(|w| w.rule == "d/fire"));
    assert_eq!(inner.waiting[5].sequence, 16);
}

#[test]
fn a_rule_over_its_rate_is_held_and_says_so() {
    let dir = Scratch::new();
    let outbox = Outbox::open(&dir.path().join("o")).unwrap();
    let kept = (0..250).filter(|_| push(&outbox, Kind::Alarm, &[("rule", "flood")]) != Kept::Suppressed).count();
    assert!((200..=210).contains(&kept), "{kept}");
    let counts = outbox.counts();
    assert_eq!((counts.alarms + usize::try_from(counts.suppressed).unwrap(), counts.dropped), (250, 0));
    assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "fire")]), Kept::Stored(_)));
    std::thread::sleep(Duration::from_millis(1_100));
    push(&outbox, Kind::Alarm, &[("rule", "flood")]);
    let last = outbox.lock().waiting.back().unwrap().text.clone();
    assert!(serde_json::from_str::<Value>(&last).unwrap()["suppressed"].as_u64().unwrap() > 30, "{last}");
}

#[test]
fn critical_alarms_have_no_rate() {
    let dir = Scratch::new();
    let outbox = Outbox::open(&dir.path().join("o")).unwrap();
    for _ in 0..250 {
        critical(&outbox);
    }
    assert_eq!((counts(&outbox), outbox.counts().suppressed), ((0, 250, 0), 0));
    // They use up nothing of what others of the same name may raise.
    alarm(&outbox);
}

/// As on a full disk: `/dev/full` refuses each write, and a folder in the place of the temporary file keeps the file from being made anew.
/// The disk takes writes again when that folder, which this gives, is gone.
fn refuse_writes(outbox: &Outbox, dir: &Scratch) -> PathBuf {
    outbox.lock().file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
    let temporary = dir.path().join("outbox.jsonl.tmp");
    std::fs::create_dir(&temporary).unwrap();
    temporary
}

#[test]
fn what_the_disk_does_not_take_waits_in_memory_and_is_written_later() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    alarm(&outbox);
    let temporary = refuse_writes(&outbox, &dir);
    let kept = push(&outbox, Kind::Alarm, &[("rule", "r")]);
    assert!(matches!(&kept, Kept::InMemory(2, fault) if fault.code == "disk-full"), "{kept:?}");
    assert_eq!(outbox.fault().unwrap().code, "disk-full");
    assert_eq!((sequences(&outbox), counts(&outbox)), (vec![1, 2], (0, 2, 0)), "it is sent all the same");
    // The server takes the first; the disk is tried again after a while, in vain, and then with success.
    outbox.accepted(1, &[1, 2]);
    outbox.lock().refused.as_mut().unwrap().1 -= RETRY_DISK;
    assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "r")]), Kept::InMemory(3, _)));
    std::fs::remove_dir(&temporary).unwrap();
    outbox.lock().refused.as_mut().unwrap().1 -= RETRY_DISK;
    assert_eq!((alarm(&outbox), outbox.fault()), (4, None));
    drop(outbox);
    assert_eq!(sequences(&Outbox::open(&path).unwrap()), [2, 3, 4]);
}

#[test]
fn a_disk_that_takes_nothing_does_not_keep_the_queue_from_opening() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    alarm(&Outbox::open(&path).unwrap());
    std::fs::create_dir(dir.path().join("outbox.jsonl.tmp")).unwrap();
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(sequences(&outbox), [1]);
    assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "r")]), Kept::InMemory(2, _)));
}

#[test]
fn what_ends_with_the_agent_on_a_full_disk_is_counted_and_its_number_is_not_used_again() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!([alarm(&outbox), alarm(&outbox)], [1, 2]);
    let temporary = refuse_writes(&outbox, &dir);
    for number in 3..=6 {
        assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "r")]), Kept::InMemory(n, _) if n == number));
    }
    push(&outbox, Kind::Heartbeat, &[]);
    // Two of the four are at the server when the agent ends, and the disk is full all the time.
    outbox.accepted(4, &[1, 2, 3, 4]);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!((outbox.counts().dropped, outbox.lock().next), (2, 8));
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(outbox.counts().dropped, 2, "once");
    assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "r")]), Kept::InMemory(8, _)));
    // There is room again: all is on disk, and nothing more is lost with the agent.
    std::fs::remove_dir(&temporary).unwrap();
    outbox.lock().refused.as_mut().unwrap().1 -= RETRY_DISK;
    assert_eq!(alarm(&outbox), 9);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(outbox.counts().dropped, 2);
    assert!(sequences(&outbox).ends_with(&[8, 9]));
}

#[test]
fn what_came_to_the_disk_before_the_mark_said_so_is_not_lost() {
    let dir = Scratch::new();
    let path = dir.path().join("outbox.jsonl");
    let outbox = Outbox::open(&path).unwrap();
    alarm(&outbox);
    let temporary = refuse_writes(&outbox, &dir);
    for number in 2..=4 {
        assert!(matches!(push(&outbox, Kind::Alarm, &[("rule", "r")]), Kept::InMemory(n, _) if n == number));
    }
    let mark = std::fs::read(dir.path().join("outbox.mark")).unwrap();
    std::fs::remove_dir(&temporary).unwrap();
    outbox.lock().refused.as_mut().unwrap().1 -= RETRY_DISK;
    assert_eq!(alarm(&outbox), 5);
    drop(outbox);
    // The power fails after the file was written and before the mark was; of the three one did not come to the disk.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("\"sequence\":3,")).collect();
    assert_eq!(lines.len(), text.lines().count() - 1);
    std::fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
    std::fs::write(dir.path().join("outbox.mark"), mark).unwrap();
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!((sequences(&outbox), outbox.counts().dropped), (vec![1, 2, 4, 5], 1));
}

#[test]
fn counts_and_fault_are_told_while_the_disk_is_waited_for() {
    let dir = Scratch::new();
    let outbox = Outbox::open(&dir.path().join("o")).unwrap();
    alarm(&outbox);
    let busy = outbox.lock();
    assert_eq!((counts(&outbox), outbox.fault()), ((0, 1, 0), None));
    drop(busy);
}

#[test]
fn dead_bytes_are_bounded_like_dead_lines() {
    let dir = Scratch::new();
    let path = dir.path().join("o");
    let outbox = Outbox::open(&path).unwrap();
    let number = alarm(&outbox);
    outbox.lock().bytes += DEAD_BYTES;
    outbox.accepted(number, &[number]);
    let bytes = outbox.lock().bytes;
    assert_eq!((bytes as u64, std::fs::read_to_string(&path).unwrap().lines().count()), (std::fs::metadata(&path).unwrap().len(), 1));
}
