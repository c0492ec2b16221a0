//! Confines itself and tries what a hostile model's code might; prints what worked as a JSON map of name to bool.

use std::{
    collections::BTreeMap,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    process::Command,
};

use inference::sandbox::{Limits, confine};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("pithead-confined-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("inside"))?;
    std::fs::write(dir.join("secret"), "secret")?;
    std::fs::write(dir.join("inside/model"), "model")?;
    let listener = UnixListener::bind(dir.join("socket"))?;
    let caller = UnixStream::connect(dir.join("socket"))?;
    let tcp = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    // Files are removed by a process that is not confined.
    let mut cleaner =
        Command::new("/bin/sh").arg("-c").arg("read line; rm -r \"$0\"").arg(&dir).stdin(std::process::Stdio::piped()).spawn()?;

    let done = confine(&Limits::default(), &[&dir.join("inside")])?;
    let mut tried = BTreeMap::new();
    if done.landlock == "full" {
        tried.insert("landlock-full", true);
    }
    tried.insert("accept", listener.accept().is_ok());
    tried.insert("thread", std::thread::Builder::new().spawn(|| 1).is_ok_and(|t| t.join().is_ok()));
    tried.insert("read-allowed", std::fs::read(dir.join("inside/model")).is_ok());
    tried.insert("read-elsewhere", std::fs::read(dir.join("secret")).is_ok());
    tried.insert("udp", UdpSocket::bind("127.0.0.1:0").is_ok());
    tried.insert("tcp-connect", TcpStream::connect(tcp).is_ok());
    tried.insert("tcp-listen", TcpListener::bind("127.0.0.1:0").is_ok());
    tried.insert("unix-connect", UnixStream::connect(dir.join("socket")).is_ok());
    tried.insert("program", Command::new("/bin/true").spawn().is_ok());
    tried.insert("create-file", std::fs::write(dir.join("inside/new"), "").is_ok());

    tried.insert("create-folder", std::fs::create_dir(dir.join("inside/folder")).is_ok());
    tried.insert("remove-file", std::fs::remove_file(dir.join("inside/model")).is_ok());
    tried.insert("rename-file", std::fs::rename(dir.join("inside/model"), dir.join("inside/other")).is_ok());
    drop(caller);
    println!("{}", serde_json::to_string(&tried)?);
    drop(cleaner.stdin.take());
    // Waiting for it is not allowed any more.
    drop(cleaner);
    Ok(())
}
