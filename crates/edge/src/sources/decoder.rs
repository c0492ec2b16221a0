//! A confined ffmpeg that only decodes: a stream or a file on its standard input, frames as PPM on its standard output.
//!
//! Invariants: it has no network, no other files and no second process (`inference::sandbox`), but where the kernel cannot confine it and
//! `--allow-unconfined` has it run all the same; nothing that is secret is in its arguments. Each frame says its own size, so that nothing is
//! misread when a camera changes. It ends with the [`Decoder`] and with the agent, whose pipes it holds.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use inference::sandbox::{self, Limits};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::fault::Fault;

/// Widest frame that apps are given, in pixels; a wider one is made smaller.
const MAX_WIDTH: u32 = 1_920;
/// Most pixels of a frame that is decoded, and of one that is given out.
const MAX_PIXELS: u32 = 8_192 * 4_320;
const MAX_FRAME: usize = 1_920 * 4_096;
/// Memory of the decoder, in bytes: reference pictures of 8K and its own.
const MEMORY: u64 = 1 << 30;
/// Longest line of its standard error that is kept, in bytes.
const MAX_LINE: u64 = 1_000;

/// The codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

impl Codec {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
        }
    }

    /// ffmpeg's name of the bare stream (Annex B).
    fn format(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "hevc",
        }
    }
}

/// What decoders are started with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The agent's own program.
    pub exe: PathBuf,
    pub ffmpeg: PathBuf,
    pub allow_unconfined: bool,
}

/// What is decoded.
pub enum Input {
    /// A stream that is written to [`Decoder::input`].
    Stream(Codec),
    /// A video file, at its own pace, over and over.
    File(File),
}

/// Options of the hidden subcommand `decoder`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    ffmpeg: PathBuf,
    #[arg(long)]
    allow_unconfined: bool,
    /// Arguments of ffmpeg.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Confines this process and becomes ffmpeg. Returns only if that fails.
pub fn main(options: &Options) -> std::process::ExitCode {
    let limits = Limits { memory_bytes: MEMORY, cpu_seconds: 0, open_files: 64, required: !options.allow_unconfined };
    let mut program = std::process::Command::new(&options.ffmpeg);
    program.args(&options.arguments).env_clear();
    let error = sandbox::become_program(&limits, &[&options.ffmpeg], &mut program);
    eprintln!("{error}");
    std::process::ExitCode::FAILURE
}

/// ffmpeg on the search path, its links followed.
pub fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find_map(|file| file.canonicalize().ok().filter(|file| file.is_file()))
}

fn fault(message: impl Into<String>) -> Fault {
    Fault::new("decoder-failed", "source", message)
}

/// Arguments of ffmpeg. Of each part of a second, `rate` of which make one, the first frame passes: none is made up where the stream stands
/// still, and none waits for the next.
fn arguments(input: &Input, rate: f64) -> Vec<String> {
    let mut all: Vec<String> = ["-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"].map(str::to_owned).to_vec();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-max_pixels", &MAX_PIXELS.to_string()]);
    // A file may be a list of others, or of addresses: it leads nowhere, also where nothing confines ffmpeg.
    add(&["-protocol_whitelist", "fd,pipe"]);
    match input {
        // Little is read ahead to learn what the stream is: the camera has told it.
        Input::Stream(codec) => {
            add(&["-use_wallclock_as_timestamps", "1", "-fflags", "nobuffer", "-flags", "low_delay"]);
            add(&["-probesize", "32768", "-analyzeduration", "0", "-f", codec.format(), "-i", "pipe:0"]);
        }
        Input::File(_) => add(&["-re", "-stream_loop", "-1", "-i", "fd:"]),
    }
    let pick = format!("select='isnan(prev_selected_t)+gt(floor(t*{rate})\\,floor(prev_selected_t*{rate}))'");
    // What is written carries no time: any that grows will do.
    let filter = format!("{pick},scale=w='min(iw\\,{MAX_WIDTH})':h=-2,setpts=N/25/TB");
    add(&["-map", "0:v:0", "-an", "-sn", "-dn", "-vf", &filter, "-fps_mode", "passthrough"]);
    add(&["-threads", "1", "-c:v", "ppm", "-pix_fmt", "rgb24", "-flush_packets", "1", "-f", "image2pipe", "pipe:1"]);
    all
}

/// A running decoder.
pub struct Decoder {
    child: Child,
    /// Where the stream goes; none of a file.
    pub input: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
}

/// One decoded picture: RGB, 8 bits each, row by row.
#[derive(Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

impl Decoder {
    /// Starts a decoder; its frames are read by [`Frames::next`]. Code `decoder-failed`.
    pub fn start(tools: &Tools, input: Input, rate: f64) -> Result<(Self, Frames), Fault> {
        let arguments = arguments(&input, rate);
        let mut command = std::process::Command::new(&tools.exe);
        std::os::unix::process::CommandExt::arg0(&mut command, "pithead-edge");
        command.arg("decoder").arg("--ffmpeg").arg(&tools.ffmpeg).args(tools.allow_unconfined.then_some("--allow-unconfined"));
        command.arg("--").args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match input {
            Input::Stream(_) => Stdio::piped(),
            Input::File(file) => Stdio::from(file),
        });
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| fault(format!("{}: {e}", tools.exe.display())))?;
        let said = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, said.clone()));
        }
        let stdout = child.stdout.take().ok_or_else(|| fault("no output"))?;
        if let Some(stdin) = &child.stdin {
            // What waits in the pipe is old when it is decoded: there is room for a page.
            if let Err(error) = rustix::pipe::fcntl_setpipe_size(stdin, 4_096) {
                tracing::debug!(%error, "the pipe of a decoder keeps its size");
            }
        }
        Ok((Self { input: child.stdin.take(), child, said }, Frames(BufReader::with_capacity(64 * 1024, stdout))))
    }

    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Why it ended, in its own last words; ends it where it has not.
    pub async fn why(mut self) -> Fault {
        drop(self.input.take());
        let status = match tokio::time::timeout(std::time::Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "no end of its own".to_owned(),
        };
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fault(if said.is_empty() { format!("ffmpeg ended: {status}") } else { format!("ffmpeg: {said}") })
    }
}

/// Keeps the last line that a decoder says, plain and cut: a hostile stream may have made it.
async fn listen(stderr: ChildStderr, said: Arc<Mutex<String>>) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line).trim().escape_debug().take(300).collect::<String>();
                tracing::debug!("a decoder says: {line}");
                *said.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        }
    }
}

/// What comes out of a decoder.
pub struct Frames(BufReader<ChildStdout>);

impl Frames {
    /// The next frame; `None` at the end. Code `decoder-failed` for what is no frame, without words where the decoder ended within one:
    /// [`Decoder::why`] has them.
    pub async fn next(&mut self) -> Result<Option<Pixels>, Fault> {
        ppm(&mut self.0).await
    }
}

/// Reads one binary PPM of 8 bits as ffmpeg writes it: `P6`, width and height, 255, each with a line end, then the pixels.
async fn ppm(reader: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> Result<Option<Pixels>, Fault> {
    // That it ended within a frame says nothing: its own words do.
    let ended = |e: &std::io::Error| e.kind() == std::io::ErrorKind::UnexpectedEof;
    let broken = |e: std::io::Error| fault(if ended(&e) { String::new() } else { e.to_string() });
    let wrong = || fault("what came out of the decoder is no frame");
    let mut lines = [const { Vec::new() }; 3];
    for line in &mut lines {
        (&mut *reader).take(20).read_until(b'\n', line).await.map_err(broken)?;
    }
    let [magic, size, depth] = &lines;
    if magic.is_empty() {
        return Ok(None);
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| size.trim_end().split_once(' '));
    let (width, height) = size.and_then(|(w, h)| Some((w.parse::<u32>().ok()?, h.parse::<u32>().ok()?))).ok_or_else(wrong)?;
    let pixels = usize::try_from(u64::from(width) * u64::from(height)).unwrap_or(usize::MAX);
    if magic != b"P6\n" || depth != b"255\n" || !(1..=MAX_FRAME).contains(&pixels) {
        return Err(wrong());
    }
    let mut rgb = vec![0; pixels * 3];
    reader.read_exact(&mut rgb).await.map_err(broken)?;
    Ok(Some(Pixels { width, height, rgb }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Option<Pixels>, Fault> {
        ppm(&mut bytes).await
    }

    #[tokio::test]
    async fn frames_are_read_and_what_is_none_is_refused() {
        let mut two: &[u8] = b"P6\n2 1\n255\nABCDEFP6\n1 1\n255\nXYZ";
        assert_eq!(ppm(&mut two).await.unwrap().unwrap(), Pixels { width: 2, height: 1, rgb: b"ABCDEF".to_vec() });
        assert_eq!(ppm(&mut two).await.unwrap().unwrap().rgb, b"XYZ");
        assert_eq!(ppm(&mut two).await.unwrap(), None);
        for wrong in [
            "P5\n1 1\n255\nXYZ",
            "P6\n1 1\n65535\nXYZ",
            "P6\n0 1\n255\n",
            "P6\n99999 99999\n255\n",
            "P6\n1 1\n255\nXY",
            "P6\n1",
            "P6 1 1 255 XYZ",
        ] {
            assert!(read(wrong.as_bytes()).await.is_err(), "{wrong:?}");
        }
        assert_eq!(read(b"P6\n1 1\n255\nXY").await.unwrap_err().message, "");
    }

    #[test]
    fn what_is_read_leads_to_no_other_file_or_address() {
        let file = std::fs::File::open("/dev/null").unwrap();
        for input in [Input::Stream(Codec::H264), Input::File(file)] {
            let all = arguments(&input, 5.0);
            let at = |word: &str| all.iter().position(|one| one == word).unwrap();
            assert_eq!(all[at("-protocol_whitelist") + 1], "fd,pipe");
            assert!(at("-protocol_whitelist") < at("-i"), "{all:?}");
        }
    }
}
