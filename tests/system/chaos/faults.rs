//! The faults: what happens to the server, its database, its disk and its connections.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
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
}

/// A file system of its own that can be filled; unmounted on drop.
pub struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount.
    pub fn mount(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
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

pub async fn strike(fault: Fault, demo: &mut Demo, disk: Option<&Disk>, cutting: &AtomicBool, rng: &mut StdRng) {
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
            cutting.store(true, Ordering::Relaxed);
            tokio::time::sleep(pause(500, 3_000)).await;
            cutting.store(false, Ordering::Relaxed);
        }
        Fault::Fill => {
            if let Some(disk) = disk {
                disk.fill(pause(500, 3_000)).await;
            }
        }
    }
}
