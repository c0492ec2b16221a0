//! The faults: what happens to the server, its database, its disk, its connections and its clock.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pithead::base::db::{Db, Location};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::demo::Demo;

/// Size of the disk that is filled.
const DISK: &str = "size=768m,mode=0700";

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Kill,
    Lock,
    LockAndKill,
    Cut,
    Fill,
    Clock,
}

/// A file system of its own that can be filled; unmounted on drop.
pub struct Disk(PathBuf);

impl Disk {
    /// None where the user is not root, for nobody else may mount.
    pub fn mount(folder: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("only root may mount a file system, and this is not root: the disk is not filled");
            return None;
        }
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder).output().expect("mount");
        assert!(
            mounted.status.success(),
            "root may not mount a file system here (a container needs --cap-add SYS_ADMIN), so the disk cannot be filled: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Some(Self(folder.to_owned()))
    }

    /// Takes all room for a while.
    async fn fill(&self, pause: Duration) {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        tokio::time::sleep(pause).await;
        drop(file);
        std::fs::remove_file(path).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Programs whose clocks jump.
const PROGRAMS: [&str; 2] = ["pithead", "pithead-edge"];
/// How far a clock jumps: certificates, sessions and licences of a year are over then, and in the other direction not yet valid.
const JUMP: i64 = 400 * 24 * 60 * 60;

/// Clocks of the server and of its nodes, each of which can be moved while they run.
pub struct Clocks(PathBuf);

impl Clocks {
    /// Builds the library that moves a program's clock; all clocks are right.
    pub fn build() -> Self {
        let clocks = Self(std::env::temp_dir().join(pithead::base::ids::new("pithead-clocks")));
        std::fs::create_dir_all(&clocks.0).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/edge/tests/clock.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(clocks.library()).arg(source).status();
        assert!(built.unwrap().success(), "the C compiler");
        for program in PROGRAMS {
            clocks.set(program, 0);
        }
        clocks
    }

    fn library(&self) -> PathBuf {
        self.0.join("libclock.so")
    }

    /// What a program is to be started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        [("LD_PRELOAD", self.library()), ("CLOCK_DIR", self.0.clone())]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .to_vec()
    }

    fn set(&self, program: &str, seconds: i64) {
        // Written over, not replaced: running programs have this very file in their memory.
        let file = File::options().write(true).create(true).truncate(false).open(self.0.join(program)).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// The server alone, the nodes alone or both are ahead for a while, then behind, or the other way round.
    async fn jump(&self, rng: &mut StdRng) {
        let whose = [&PROGRAMS[..1], &PROGRAMS[1..], &PROGRAMS][rng.random_range(0..3)];
        let first = if rng.random() { JUMP } else { -JUMP };
        for jump in [first, -first, 0] {
            println!("  {whose:?}: {} days", jump / (24 * 60 * 60));
            for program in whose {
                self.set(program, jump);
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(1_000..5_000))).await;
        }
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Leads clients to the server, and cuts all connections while `cutting`.
pub async fn proxy(listener: TcpListener, to: SocketAddr, cutting: Arc<AtomicBool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let cutting = cutting.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(to).await else { return };
            let cut = async {
                loop {
                    // Not at once: some cuts are to fall between request and answer.
                    tokio::time::sleep(Duration::from_millis(rand::random_range(1..60))).await;
                    if cutting.load(Ordering::Relaxed) {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                () = cut => {}
            }
        });
    }
}

/// Holds the database's write lock as another process does.
async fn lock(url: String, pause: Duration) {
    let db = Db::open(&Location::parse(&url).unwrap(), 1).unwrap();
    // The server may have the lock itself.
    for _ in 0..10 {
        let held = db.write(move |_| {
            std::thread::sleep(pause);
            Ok(())
        });
        if held.await.is_ok() {
            return;
        }
    }
    panic!("the database is never free");
}

/// What is around the server and can be struck.
pub struct Around {
    pub disk: Option<Disk>,
    pub clocks: Clocks,
    pub cutting: Arc<AtomicBool>,
}

pub async fn strike(fault: Fault, demo: &mut Demo, around: &Around, rng: &mut StdRng) {
    let url = format!("sqlite:{}", demo.folder.join("pithead.db").display());
    let mut pause = |from: u64, to: u64| Duration::from_millis(rng.random_range(from..to));
    let kill = |demo: &mut Demo| {
        tokio::task::block_in_place(|| {
            demo.kill();
            demo.again()
        })
    };
    match fault {
        Fault::Kill => println!("  ready after {:?}", kill(demo)),
        // Longer than the server waits for the lock.
        Fault::Lock => lock(url, pause(1_000, 7_500)).await,
        Fault::LockAndKill => {
            let (held, wait) = (tokio::spawn(lock(url, pause(1_000, 3_000))), pause(100, 800));
            tokio::time::sleep(wait).await;
            println!("  ready after {:?}", kill(demo));
            held.await.unwrap();
        }
        Fault::Cut => {
            around.cutting.store(true, Ordering::Relaxed);
            tokio::time::sleep(pause(500, 3_000)).await;
            around.cutting.store(false, Ordering::Relaxed);
        }
        Fault::Fill => {
            if let Some(disk) = &around.disk {
                disk.fill(pause(500, 3_000)).await;
            }
        }
        Fault::Clock => around.clocks.jump(rng).await,
    }
}
