//! A video file, at its own pace, over and over.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::OFlags;

use super::decoder::{Decoder, Input, Tools};
use super::live::Live;
use super::rtsp::silence;
use crate::fault::Fault;

/// Plays the file until that fails. Codes `source-unreachable`, `source-silent` and those of the decoder.
pub async fn run(live: &Arc<Live>, tools: &Tools, data: &Path) -> Fault {
    let path = live.source.path(data);
    // A file system of the network may take long to answer.
    let file = match tokio::task::spawn_blocking(move || opened(&path)).await {
        Ok(Ok(file)) => file,
        Ok(Err(why)) => return Fault::new("source-unreachable", "source", why),
        Err(e) => return Fault::new("source-unreachable", "source", e.to_string()),
    };
    let (decoder, mut frames) = match Decoder::start(tools, Input::File(file), live.source.rate) {
        Ok(started) => started,
        Err(fault) => return fault,
    };
    live.set(|standing| (standing.codec, standing.decoder) = ("", decoder.pid()));
    let silence = silence(live.source.rate);
    loop {
        match tokio::time::timeout(silence, frames.next()).await {
            Err(_) => return Fault::new("source-silent", "source", format!("no frame for {} s", silence.as_secs())),
            Ok(Ok(Some(pixels))) => live.show(pixels, Instant::now()),
            Ok(Ok(None)) => return decoder.why().await,
            Ok(Err(fault)) if fault.message.is_empty() => return decoder.why().await,
            Ok(Err(fault)) => return fault,
        };
    }
}

/// Opens a file, and nothing else: a pipe would wait for its writer for ever, and to open a device may do something.
fn opened(path: &Path) -> Result<File, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let none = || format!("{} is no file", path.display());
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(none());
    }
    // It may have been put in the place of the file since then. To a file the flag is nothing.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() { Ok(file) } else { Err(none()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn only_a_file_is_opened_and_a_pipe_without_a_writer_holds_nobody_up() {
        let dir = Scratch::new();
        let (pipe, file, link) = (dir.path().join("pipe"), dir.path().join("file"), dir.path().join("link"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        std::fs::write(&file, b"x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(opened(&file).is_ok() && opened(&link).is_ok());
        for none in [&*pipe, dir.path(), Path::new("/dev/null")] {
            assert!(opened(none).unwrap_err().ends_with("is no file"), "{}", none.display());
        }
        assert!(opened(&dir.path().join("gone")).is_err());
    }
}
