//! An open-loop generator of load: requests are due at a fixed rate, whether those before them were answered or not, as from readers who know
//! nothing of each other. (A closed loop such as wrk's waits for its answers, and so asks a slow server for less.)
//!
//! `overload 127.0.0.1:PORT PATH PID`: first finds the rate at which a few connections that ask again at once are served (the saturated rate),
//! then what a fifth of it feels like (quiet), then offers twice that rate, then a fifth again. `{n}` in PATH is another number each time.
//! Prints one `name value` a line. Times count from the moment when a request was due, in milliseconds; of 200 only. Connections are bounded,
//! it asks this machine only, and ends by itself. Built by bench/overload.sh with `rustc` alone.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Connections of the closed loop: fewer than the turns and places of any class.
const CLOSED: usize = 12;
/// Connections of the open loop: fewer than an address may have requests, more than are ever admitted or wait.
const OPEN: usize = 200;
/// A request that nobody answers for so long is an error.
const PATIENCE: Duration = Duration::from_secs(30);

static NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
struct Target {
    address: SocketAddr,
    path: String,
}

/// One answer.
struct Sample {
    /// 0 where there was none.
    status: u16,
    retry_after: bool,
    /// From the moment it was due.
    took: Duration,
    /// From that moment to the one when it was sent.
    late: Duration,
}

/// A request that is on its way.
struct Asked {
    due: Instant,
    sent: Instant,
}

/// A kept connection, of one request at a time. It never waits: who drives it looks at all of them in turn.
struct Line {
    target: Target,
    stream: Option<TcpStream>,
    asked: Option<Asked>,
    buffer: Vec<u8>,
}

impl Line {
    fn to(target: &Target) -> Self {
        Self { target: target.clone(), stream: None, asked: None, buffer: Vec::new() }
    }

    /// Sends a request that was due at a moment.
    fn ask(&mut self, due: Instant) {
        self.asked = Some(Asked { due, sent: Instant::now() });
        self.buffer.clear();
        if self.send().is_err() {
            self.stream = None;
        }
    }

    fn send(&mut self) -> std::io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.target.address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                none.insert(stream)
            }
        };
        let path = self.target.path.replace("{n}", &NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept-Language: en\r\n\r\n", self.target.address).as_bytes())
    }

    /// The answer, where all of it has come.
    fn look(&mut self) -> Option<Sample> {
        let asked = self.asked.as_ref()?;
        let (took, late) = (asked.due.elapsed(), asked.sent.duration_since(asked.due));
        let failed = |line: &mut Self| {
            (line.stream, line.asked) = (None, None);
            Some(Sample { status: 0, retry_after: false, took, late })
        };
        let Some(stream) = &mut self.stream else { return failed(self) };
        let mut piece = [0; 16 * 1024];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return failed(self),
                Ok(read) => self.buffer.extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return failed(self),
            }
            if let Some((status, retry_after, closes)) = whole(&self.buffer) {
                if closes {
                    self.stream = None;
                }
                self.asked = None;
                return Some(Sample { status, retry_after, took, late });
            }
        }
        if took > PATIENCE { failed(self) } else { None }
    }
}

/// Status of an answer of which nothing is missing, whether `Retry-After` was there, and whether its connection ends.
fn whole(answer: &[u8]) -> Option<(u16, bool, bool)> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
    if let Some(length) = value("content-length:").and_then(|length| length.parse::<usize>().ok()) {
        if answer.len() < head + length {
            return None;
        }
    } else if value("transfer-encoding:").is_some() && !answer.ends_with(b"\r\n0\r\n\r\n") && &answer[head..] != b"0\r\n\r\n" {
        return None;
    }
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Some((status, value("retry-after:").is_some(), value("connection:").as_deref() == Some("close")))
}

/// Drives connections: `due` tells at each moment when the next request is or was due, if there is another one. Ends when all are answered.
/// One thread that looks at each connection in turn: many of them would wait for one another, and tell that as time of the server.
fn drive(target: &Target, lines: usize, mut due: impl FnMut() -> Option<Instant>) -> Vec<Sample> {
    let mut lines: Vec<Line> = (0..lines).map(|_| Line::to(target)).collect();
    let (mut samples, mut next) = (Vec::new(), due());
    loop {
        let mut busy = false;
        for line in &mut lines {
            if line.asked.is_some() {
                samples.extend(line.look());
            }
            if line.asked.is_none()
                && let Some(at) = next
                && at <= Instant::now()
            {
                line.ask(at);
                next = due();
            }
            busy |= line.asked.is_some();
        }
        if !busy {
            let Some(at) = next else { return samples };
            // Not to the very moment: a thread that sleeps comes late.
            thread::sleep(at.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_micros(200)));
        }
        thread::yield_now();
    }
}

/// Each connection asks again as soon as it is answered. For the rate alone: times count from when some other one was asked.
fn closed(target: &Target, seconds: u64) -> Vec<Sample> {
    let end = Instant::now() + Duration::from_secs(seconds);
    drive(target, CLOSED, || Some(Instant::now()).filter(|now| *now < end))
}

/// So many requests a second, each due at its moment.
fn open(target: &Target, rate: f64, seconds: u64) -> Vec<Sample> {
    let begin = Instant::now() + Duration::from_millis(100);
    let mut numbers = 0..(rate * seconds as f64) as u64;
    drive(target, OPEN, || numbers.next().map(|number| begin + Duration::from_secs_f64(number as f64 / rate)))
}

fn quantile(times: impl Iterator<Item = Duration>, of: f64) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let place = (times.len() as f64 * of) as usize;
    times.get(place.min(times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn tell(name: &str, samples: &[Sample]) {
    let admitted = || samples.iter().filter(|sample| sample.status == 200);
    println!("{name}_requests {}", samples.len());
    for status in [200, 429, 503] {
        println!("{name}_{status} {}", samples.iter().filter(|sample| sample.status == status).count());
    }
    let refused = |sample: &&Sample| matches!(sample.status, 429 | 503);
    println!("{name}_other {}", samples.iter().filter(|sample| sample.status != 200 && !refused(sample)).count());
    println!("{name}_without_retry_after {}", samples.iter().filter(refused).filter(|sample| !sample.retry_after).count());
    println!("{name}_p50 {:.2}", quantile(admitted().map(|sample| sample.took), 0.50));
    println!("{name}_p99 {:.2}", quantile(admitted().map(|sample| sample.took), 0.99));
    println!("{name}_refusal_p99 {:.2}", quantile(samples.iter().filter(refused).map(|sample| sample.took), 0.99));
    println!("{name}_late_p99 {:.2}", quantile(samples.iter().map(|sample| sample.late), 0.99));
}

/// Resident memory of a process in MB.
fn resident(pid: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0 / 1e6
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, pid] = words.as_slice() else {
        eprintln!("overload 127.0.0.1:PORT PATH PID");
        std::process::exit(2);
    };
    let address: SocketAddr = address.parse().expect("an address and port");
    assert!(address.ip().is_loopback() && matches!(address.ip(), IpAddr::V4(_)), "this machine only");
    // Numbers that no earlier run has asked for.
    NUMBER.store(UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() * 1_000_000), Ordering::Relaxed);
    let target = Target { address, path: path.clone() };
    let mut once = Some(Instant::now());
    assert_eq!(drive(&target, 1, || once.take()).first().map(|sample| sample.status), Some(200), "{path} is not there");
    let idle = resident(pid);

    closed(&target, 2);
    let saturated = closed(&target, 6);
    let rate = saturated.iter().filter(|sample| sample.status == 200).count() as f64 / 6.0;
    println!("saturated_rate {rate:.0}");
    tell("saturated", &saturated);
    tell("quiet", &open(&target, rate / 5.0, 10));

    let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watch = {
        let (over, most, pid) = (over.clone(), most.clone(), pid.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max((resident(&pid) * 10.0) as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
        })
    };
    let begin = Instant::now();
    let offered = open(&target, rate * 2.0, 20);
    println!("offered_rate {:.0}", offered.len() as f64 / begin.elapsed().as_secs_f64());
    tell("overload", &offered);
    over.store(true, Ordering::Relaxed);
    watch.join().expect("the watch");
    println!("memory_growth {:.1}", most.load(Ordering::Relaxed) as f64 / 10.0 - idle);

    thread::sleep(Duration::from_secs(5));
    tell("after", &open(&target, rate / 5.0, 5));
}
