use super::*;
use crate::testing::Scratch;

fn begun(episode: &str, level: AlarmLevel) -> Begun {
    Begun { episode: episode.into(), level, at: None, objects: Vec::new() }
}

fn made(small: usize, whole: usize) -> inference::evidence::Pictures {
    inference::evidence::Pictures { size: [640, 360], small: vec![1; small], whole: vec![2; whole] }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn episode(next: Option<&Next>) -> Option<&str> {
    match next? {
        Next::Small { episode, .. } => Some(episode),
        other => panic!("{other:?}"),
    }
}

fn names(dir: &Scratch) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir.path().join(FOLDER)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn critical_ones_and_the_newest_are_sent_first_and_each_once_over_restarts() {
    let dir = Scratch::new();
    let pictures = Pictures::open(dir.path());
    for ((id, level), second) in
        [("w1", AlarmLevel::Warning), ("c1", AlarmLevel::Critical), ("w2", AlarmLevel::Warning)].into_iter().zip(0..)
    {
        pictures.keep(&begun(id, level), &made(10, 100), Privacy::Blurred, at(second)).unwrap();
    }
    let mut sent = Vec::new();
    while let Some(next) = pictures.next(at(9)) {
        sent.push(episode(Some(&next)).unwrap().to_owned());
        // The platform does not know the alarm yet: the others do not wait for it.
        if sent.len() == 1 { pictures.note_unknown("c1") } else { pictures.done(&next) }
    }
    assert_eq!(sent, ["c1", "w2", "w1"]);
    let pictures = Pictures::open(dir.path());
    assert_eq!(episode(pictures.next(at(9)).as_ref()), Some("c1"));
    assert_eq!((pictures.counts(), pictures.next(at(31 * 86_400))), ((3, 330, 0), None));
    assert_eq!(names(&dir), ["c1.jpg", "c1.json", "c1.small.jpg", "w1.jpg", "w1.json", "w2.jpg", "w2.json"]);
}

#[test]
fn what_somebody_asks_for_comes_first_and_what_is_gone_is_said() {
    let dir = Scratch::new();
    let pictures = Pictures::open(dir.path());
    pictures.keep(&begun("a", AlarmLevel::Notice), &made(10, 100), Privacy::Blurred, at(0)).unwrap();
    let asked: Vec<String> = ["a", "a", "never", "../identity"].map(str::to_owned).to_vec();
    pictures.told(Some(Wish::Blurred), &asked);
    let gone = pictures.next(at(1)).unwrap();
    assert_eq!(gone, Next::Gone { episode: "never".into() });
    pictures.done(&gone);
    let whole = pictures.next(at(1)).unwrap();
    assert_eq!(whole, Next::Whole { episode: "a".into(), jpeg: vec![2; 100] });
    pictures.done(&whole);
    assert_eq!(episode(pictures.next(at(1)).as_ref()), Some("a"));
    pictures.told(None, &asked[..1]);
    std::fs::remove_file(dir.path().join(FOLDER).join("a.jpg")).unwrap();
    assert_eq!(pictures.next(at(1)), Some(Next::Gone { episode: "a".into() }));
}

#[test]
fn what_the_mine_does_not_want_goes_and_is_not_made_again() {
    let dir = Scratch::new();
    let pictures = Pictures::open(dir.path());
    assert_eq!(pictures.wish(), Wish::Blurred, "until the platform says otherwise");
    pictures.told(Wish::of("plain"), &[]);
    pictures.keep(&begun("plain", AlarmLevel::Warning), &made(1, 1), Privacy::Plain, at(0)).unwrap();
    pictures.keep(&begun("late", AlarmLevel::Warning), &made(1, 1), Privacy::Blurred, at(0)).unwrap();
    assert_eq!(pictures.counts().0, 1, "made as it was wanted before");
    // A platform from before says nothing, a later one a word that is not known.
    pictures.told(None, &[]);
    pictures.told(Wish::of("sketched"), &[]);
    assert_eq!(Pictures::open(dir.path()).wish(), Wish::Plain, "it lasts over a restart");
    pictures.told(Wish::of("blurred"), &[]);
    pictures.keep(&begun("blurred", AlarmLevel::Warning), &made(1, 1), Privacy::Blurred, at(1)).unwrap();
    assert_eq!(names(&dir), ["blurred.jpg", "blurred.json", "blurred.small.jpg", "wanted.json"]);
    pictures.told(Wish::of("off"), &[]);
    assert_eq!(names(&dir), ["wanted.json"]);
    assert_eq!((pictures.wish().privacy(), pictures.next(at(2))), (None, None));
}

#[test]
fn room_is_made_by_level_then_by_age() {
    let dir = Scratch::new();
    let pictures = Pictures::open(dir.path());
    let levels = [AlarmLevel::Critical, AlarmLevel::Notice, AlarmLevel::Warning, AlarmLevel::Notice];
    for (level, second) in levels.into_iter().zip(0..) {
        pictures.keep(&begun(&format!("e{second}"), level), &made(10, 100), Privacy::Blurred, at(second)).unwrap();
    }
    let mut left = Vec::new();
    for count in (0..4).rev() {
        let mut inner = pictures.lock();
        // A fifth of this disk has room for so many beside the one that comes; and as much is free.
        let disk = if count == 2 { (1 << 50, LEAST_FREE + 10) } else { (SHARE * (110 * count + 20), 1 << 50) };
        pictures.make_room(&mut inner, 20, disk);
        left.push(inner.kept.keys().cloned().collect::<Vec<_>>().join(" "));
    }
    assert_eq!(left, ["e0 e2 e3", "e0 e2", "e0", ""]);
    assert_eq!((pictures.counts(), names(&dir).len()), ((0, 0, 4), 0));
}

#[test]
fn halves_of_a_picture_are_removed_at_the_next_start() {
    let dir = Scratch::new();
    Pictures::open(dir.path()).keep(&begun("whole", AlarmLevel::Warning), &made(1, 1), Privacy::Blurred, at(0)).unwrap();
    for name in ["half.jpg", "half.small.jpg", "torn.json", "torn.jpg", "x.tmp"] {
        std::fs::write(dir.path().join(FOLDER).join(name), b"{").unwrap();
    }
    assert_eq!(Pictures::open(dir.path()).counts().0, 1);
    assert_eq!(names(&dir), ["whole.jpg", "whole.json", "whole.small.jpg"]);
}
