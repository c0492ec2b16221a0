//! A camera: RTSP over TCP, H.264 or H.265, into a decoder of its own.
//!
//! Invariants: the camera is read whether the decoder keeps up or not, so that nothing grows old in buffers of the network; what the decoder
//! does not take is bounded, and when it is too much or too old all of it goes, up to the next picture that needs none before it.
//!
//! What is not bounded by bytes: retina keeps an answer of any `Content-Length`, and a picture of the stream that does not end, as long as they
//! come. Their time is bounded ([`ANSWER`], [`QUIET`]), so that a camera that means harm takes as much memory as its line carries in that.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use retina::client::{Credentials, Demuxed, PlayOptions, Session, SessionOptions, SetupOptions, TcpTransportOptions, Transport};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::decoder::{Codec, Decoder, Frames, Input, Tools};
use super::live::Live;
use crate::fault::Fault;

/// Time for each answer of a camera.
const ANSWER: Duration = Duration::from_secs(10);
/// Stream that waits for the decoder: at most so old, and so many bytes.
const OLDEST: Duration = Duration::from_secs(1);
const MAX_WAITING: usize = 16 << 20;

/// Longest time without a picture in the stream, whatever the rate: one that does not end is kept in memory.
const QUIET: Duration = Duration::from_secs(10);
/// Shortest time between two changes of the picture's size: each starts a decoder.
const CHANGES: Duration = Duration::from_secs(1);

/// Longest time without a frame.
pub fn silence(rate: f64) -> Duration {
    Duration::from_secs(10).max(Duration::from_secs_f64(5.0 / rate.max(0.01)))
}

fn unreachable(why: impl std::fmt::Display) -> Fault {
    // The first line says what, those after it which bytes of the line.
    let why: String = why.to_string().lines().next().unwrap_or_default().chars().take(300).collect();
    Fault::new("source-unreachable", "source", why)
}

/// What a camera's refusal means.
fn refused(error: &retina::Error) -> Fault {
    match error.status_code() {
        Some(401 | 403) => Fault::new("credentials-refused", "source", "the camera does not take this name and password"),
        Some(404) => Fault::new("source-unknown", "source", "the camera has nothing at this address"),
        _ => unreachable(error),
    }
}

async fn within<T>(what: &str, work: impl Future<Output = Result<T, retina::Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(answer) => answer.map_err(|e| refused(&e)),
        Err(_) => Err(unreachable(format!("no answer to {what} within {} s", ANSWER.as_secs()))),
    }
}

/// Reads a camera until it fails. Codes `source-unreachable`, `source-unknown`, `credentials-refused`, `codec-unsupported`, `source-silent` and
/// those of the decoder.
pub async fn run(live: &Arc<Live>, tools: &Tools) -> Fault {
    match watch(live, tools).await {
        Ok(never) => match never {},
        Err(fault) => fault,
    }
}

async fn watch(live: &Arc<Live>, tools: &Tools) -> Result<std::convert::Infallible, Fault> {
    let (mut stream, number, codec) = open(live).await?;
    live.set(|standing| standing.codec = codec.as_str());
    let mut size = dimensions(&stream, number);
    let mut feed = Feed::start(live, tools, codec)?;
    let silence = silence(live.source.rate);
    let (mut heard, mut changed) = (Instant::now(), None::<Instant>);
    loop {
        let until = (feed.shown() + silence).min(heard + QUIET);
        tokio::select! {
            item = stream.next() => match item {
                None => return Err(unreachable("the camera has ended the stream")),
                Some(Err(error)) => return Err(refused(&error)),
                Some(Ok(CodecItem::VideoFrame(frame))) if frame.stream_id() == number => {
                    heard = Instant::now();
                    let now = dimensions(&stream, number);
                    if frame.has_new_parameters() && size.is_some() && now != size {
                        // A decoder is started for one size: its frames would else be scaled as the first ones.
                        tracing::info!(source = live.source.id, ?size, ?now, "the camera has changed its picture");
                        if changed.replace(heard).is_some_and(|before| heard.saturating_duration_since(before) < CHANGES) {
                            return Err(unreachable("the camera changes its picture again and again"));
                        }
                        feed = Feed::start(live, tools, codec)?;
                    }
                    size = now.or(size);
                    feed.take(frame, live);
                }
                Some(Ok(_)) => {}
            },
            ended = feed.advance() => return Err(feed.why(ended).await),
            () = tokio::time::sleep_until(until.into()) => {
                let now = Instant::now();
                if heard + QUIET <= now {
                    return Err(Fault::new("source-silent", "source", format!("no picture in the stream for {} s", QUIET.as_secs())));
                }
                if feed.shown() + silence <= now {
                    return Err(Fault::new("source-silent", "source", format!("no frame for {} s", silence.as_secs())));
                }
            }
        }
    }
}

fn dimensions(stream: &Demuxed, number: usize) -> Option<(u32, u32)> {
    match stream.streams().get(number)?.parameters()? {
        ParametersRef::Video(video) => Some(video.pixel_dimensions()),
        _ => None,
    }
}

/// Opens the first stream of the camera that can be decoded.
async fn open(live: &Live) -> Result<(Demuxed, usize, Codec), Fault> {
    let url = reqwest::Url::parse(&live.source.address).map_err(unreachable)?;
    let login = live.login.as_ref().map(|login| Credentials { username: login.user.clone(), password: login.password.clone() });
    let options = SessionOptions::default().creds(login).user_agent(concat!("pithead-edge/", env!("CARGO_PKG_VERSION")).to_owned());
    let mut session = within("DESCRIBE", Session::describe(url, options)).await?;
    let codec = |name: &str| match name {
        "h264" => Some(Codec::H264),
        "h265" => Some(Codec::H265),
        _ => None,
    };
    let streams = session.streams().iter().enumerate().filter(|(_, stream)| stream.media() == "video");
    let (number, codec) = streams.clone().find_map(|(at, stream)| Some((at, codec(stream.encoding_name())?))).ok_or_else(|| {
        let names: Vec<&str> = streams.map(|(_, stream)| stream.encoding_name()).take(4).collect();
        let message = format!("the camera offers no H.264 or H.265, but {:?}; set it in the camera", names.join(", "));
        Fault::new("codec-unsupported", "source", message)
    })?;
    let options = SetupOptions::default().transport(Transport::Tcp(TcpTransportOptions::default())).frame_format(FrameFormat::SIMPLE);
    within("SETUP", session.setup(number, options)).await?;
    // A camera whose time jumps is begun anew, not followed.
    let options = PlayOptions::default().enforce_timestamps_with_max_jump_secs(NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN));
    let playing = within("PLAY", session.play(options)).await?;
    Ok((playing.demuxed().map_err(|e| refused(&e))?, number, codec))
}

/// How the reader of a decoder's frames ended.
type Ended = Result<Fault, tokio::task::JoinError>;

/// What lies between camera and decoder.
struct Feed {
    decoder: Decoder,
    waiting: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Up to the next picture that needs none before it all is thrown away.
    skips: bool,
    times: Arc<Times>,
    reader: JoinSet<Fault>,
}

/// What the reader of frames and the writer of the stream tell each other.
struct Times {
    began: Instant,
    /// Milliseconds after `began` at which what was written last had been received, and at which the last frame came.
    written: std::sync::atomic::AtomicU64,
    shown: std::sync::atomic::AtomicU64,
    any: AtomicBool,
}

impl Times {
    fn note(&self, of: &std::sync::atomic::AtomicU64, at: Instant) {
        let ms = at.saturating_duration_since(self.began).as_millis();
        of.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn at(&self, of: &std::sync::atomic::AtomicU64) -> Instant {
        self.began + Duration::from_millis(of.load(Ordering::Relaxed))
    }
}

impl Feed {
    fn start(live: &Arc<Live>, tools: &Tools, codec: Codec) -> Result<Self, Fault> {
        let (decoder, frames) = Decoder::start(tools, Input::Stream(codec), live.source.rate)?;
        live.set(|standing| standing.decoder = decoder.pid());
        let times = Arc::new(Times { began: Instant::now(), written: 0.into(), shown: 0.into(), any: AtomicBool::new(false) });
        let mut reader = JoinSet::new();
        reader.spawn(read(frames, live.clone(), times.clone()));
        Ok(Self { decoder, waiting: VecDeque::new(), bytes: 0, skips: true, times, reader })
    }

    /// When the last frame came; before the first, when the decoder was started.
    fn shown(&self) -> Instant {
        self.times.at(&self.times.shown)
    }

    /// Takes a picture of the stream.
    fn take(&mut self, frame: VideoFrame, live: &Live) {
        let now = Instant::now();
        let old = self.waiting.front().is_some_and(|(received, _)| now.saturating_duration_since(*received) > OLDEST);
        if old || self.bytes.saturating_add(frame.data().len()) > MAX_WAITING {
            // What is half written stays: the decoder would lose its place otherwise.
            let thrown = self.waiting.len().saturating_sub(1);
            self.waiting.truncate(1);
            self.bytes = self.waiting.front().map_or(0, |(_, bytes)| bytes.len());
            self.skips = true;
            live.skipped.fetch_add(thrown as u64, Ordering::Relaxed);
        }
        self.skips &= !frame.is_random_access_point();
        if self.skips || frame.data().len() > MAX_WAITING {
            live.skipped.fetch_add(u64::from(self.times.any.load(Ordering::Relaxed)), Ordering::Relaxed);
            return;
        }
        let data = Bytes::from(frame.into_data());
        self.bytes = self.bytes.saturating_add(data.len());
        self.waiting.push_back((now, data));
    }

    /// Goes on writing until the decoder ends; gives how the reader of its frames ended. May be broken off at any time.
    async fn advance(&mut self) -> Ended {
        loop {
            let Some(input) = self.decoder.input.as_mut() else { return std::future::pending().await };
            let Some((received, data)) = self.waiting.front_mut() else { return self.ended().await };
            let written = tokio::select! {
                biased;
                Some(read) = self.reader.join_next() => return read,
                written = input.write(data) => written,
            };
            match written {
                Ok(count) => {
                    self.bytes = self.bytes.saturating_sub(count);
                    data.advance(count);
                    if data.is_empty() {
                        self.times.note(&self.times.written, *received);
                        self.waiting.pop_front();
                    }
                }
                Err(_) => return self.ended().await,
            }
        }
    }

    async fn ended(&mut self) -> Ended {
        match self.reader.join_next().await {
            Some(read) => read,
            None => std::future::pending().await,
        }
    }

    /// The decoder's own words say more than that its frames ended. Not to be broken off: they would be lost.
    async fn why(self, ended: Ended) -> Fault {
        let read = ended.unwrap_or_else(|e| Fault::new("decoder-failed", "source", e.to_string()));
        if read.message.is_empty() { self.decoder.why().await } else { read }
    }
}

/// Shows each frame that comes out, until none comes any more.
async fn read(mut frames: Frames, live: Arc<Live>, times: Arc<Times>) -> Fault {
    loop {
        match frames.next().await {
            Ok(Some(pixels)) => {
                times.any.store(true, Ordering::Relaxed);
                times.note(&times.shown, Instant::now());
                live.show(pixels, times.at(&times.written));
            }
            Ok(None) => return Fault::new("decoder-failed", "source", ""),
            Err(fault) => return fault,
        }
    }
}
