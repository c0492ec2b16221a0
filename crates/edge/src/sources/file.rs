//! A video file, at its own pace, over and over.

use std::sync::Arc;
use std::time::Instant;

use super::decoder::{Decoder, Input, Tools};
use super::live::Live;
use super::rtsp::silence;
use crate::fault::Fault;

/// Plays the file until that fails. Codes `source-unreachable`, `source-silent` and those of the decoder.
pub async fn run(live: &Arc<Live>, tools: &Tools, data: &std::path::Path) -> Fault {
    let path = live.source.path(data);
    let file = match std::fs::File::open(&path) {
        Ok(file) if file.metadata().is_ok_and(|about| about.is_file()) => file,
        Ok(_) => return Fault::new("source-unreachable", "source", format!("{} is no file", path.display())),
        Err(e) => return Fault::new("source-unreachable", "source", format!("{}: {e}", path.display())),
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
            Ok(Err(fault)) => return fault,
        };
    }
}
