use image::{ImageFormat, Rgb, RgbImage};

use super::*;

/// `ffmpeg -f lavfi -i testsrc=size=96x64:rate=5:duration=2 -c:v mjpeg -q:v 8`, and the same by `libx264`.
const MJPEG: &[u8] = include_bytes!("../../tests/clips/mjpeg.avi");
const H264: &[u8] = include_bytes!("../../tests/clips/h264.avi");

fn jpeg(w: u32, h: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = RgbImage::from_fn(w, h, |x, y| Rgb([shade, (x * 3).to_le_bytes()[0], (y * 5).to_le_bytes()[0]]));
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn chunk(id: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = [id, &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat();
    out.extend(std::iter::repeat_n(0, data.len() % 2));
    out
}

fn list(kind: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"LIST", &[kind, &parts.concat()].concat())
}

fn stream_of(kind: &[u8], codec: &[u8], scale: u32, rate: u32) -> Vec<u8> {
    let mut header = [kind, codec, &[0; 12]].concat();
    header.extend([scale.to_le_bytes(), rate.to_le_bytes(), [0; 4], [0; 4]].concat());
    let format = [&[0; 16][..], codec, &[0; 20]].concat();
    list(b"strl", &[chunk(b"strh", &header), chunk(b"strf", &format)])
}

fn avi(streams: &[Vec<u8>], movi: &[Vec<u8>]) -> Vec<u8> {
    let headers = [vec![chunk(b"avih", &[0; 56])], streams.to_vec()].concat();
    let parts = [list(b"hdrl", &headers), chunk(b"JUNK", &[0; 7]), list(b"movi", movi)].concat();
    chunk(b"RIFF", &[b"AVI ".as_slice(), &parts].concat())
}

fn code(bytes: &[u8]) -> &'static str {
    match read(bytes) {
        Ok(clip) => clip.frames().find_map(Result::err).map_or("", |e| e.code),
        Err(e) => e.code,
    }
}

#[test]
fn a_file_of_ffmpeg_is_read() {
    let clip = read(MJPEG).unwrap();
    let frames: Vec<_> = clip.frames().map(Result::unwrap).collect();
    assert_eq!(frames.len(), 10);
    let times: Vec<u128> = frames.iter().map(|(time, _)| time.as_millis()).collect();
    assert_eq!(times, [0, 200, 400, 600, 800, 1_000, 1_200, 1_400, 1_600, 1_800]);
    assert!(frames.iter().all(|(_, picture)| (picture.width(), picture.height()) == (96, 64)));
    assert_ne!(frames[0].1, frames[9].1, "the test picture moves");
    let refused = read(H264).unwrap_err();
    assert!(refused.code == "clip-codec" && refused.message.contains("H264") && refused.message.contains("ffmpeg -i"), "{refused}");
}

#[test]
fn the_standard_tables_are_those_that_were_left_out() {
    let whole = jpeg(32, 24, 200);
    // The encoder writes the standard tables; without them the picture is that of a camera.
    let mut bare = whole[..2].to_vec();
    let mut at = 2;
    loop {
        let length = 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        match whole[at + 1] {
            0xda => break,
            0xc4 => {}
            _ => bare.extend(&whole[at..at + length]),
        }
        at += length;
    }
    bare.extend(&whole[at..]);
    assert!(whole.len() - bare.len() > 416, "tables are gone");
    assert!(picture::decode(&bare).is_err(), "the decoder does not add them");
    assert_eq!(decode(&bare).unwrap(), picture::decode(&whole).unwrap());
    assert!(matches!(huffman::complete(&whole), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn the_first_mjpg_stream_is_read_with_its_lists() {
    let frame = |n: &[u8; 4], shade| chunk(n, &jpeg(16, 16, shade));
    let streams = [stream_of(b"auds", b"\0\0\0\0", 1, 8_000), stream_of(b"vids", b"mjpg", 1_001, 30_000)];
    let movi = [
        frame(b"01dc", 10),
        chunk(b"00wb", &[1; 5]),
        list(b"rec ", &[frame(b"01db", 20), chunk(b"JUNK", &[]), frame(b"02dc", 99)]),
        chunk(b"01dc", &[]),
        chunk(b"ix01", &[0; 8]),
    ];
    let file = avi(&streams, &movi);
    let clip = read(&file).unwrap();
    assert_eq!(clip.count(), 3);
    assert_eq!((clip.jpegs[1], clip.time(30)), (clip.jpegs[2], Duration::from_millis(1_001)));
    assert_eq!(code(&file), "");
    // What stands after the file's own end does not count.
    assert_eq!(read(&[&file[..], b"tail"].concat()).unwrap(), clip);
}

#[test]
fn what_is_no_clip_is_refused_by_name() {
    let one = |scale, rate, movi: &[Vec<u8>]| avi(&[stream_of(b"vids", b"MJPG", scale, rate)], movi);
    let frame = chunk(b"00dc", &jpeg(16, 16, 7));
    for (bytes, wanted) in [
        (b"RIFF\0\0\0\0WAVE".to_vec(), "input-not-a-clip"),
        (b"\0\0\0\x20ftypisom".to_vec(), "input-not-a-clip"),
        (b"RIFF\x04\0\0\0AVI ".to_vec(), "input-not-a-clip"),
        (one(1, 5, &[]), "clip-empty"),
        (one(1, 5, &[chunk(b"00dc", &[])]), "clip-empty"),
        (one(0, 5, std::slice::from_ref(&frame)), "clip-rate"),
        (one(1, 0, std::slice::from_ref(&frame)), "clip-rate"),
        (one(1, 100_000, std::slice::from_ref(&frame)), "clip-rate"),
        (one(u32::MAX, 1, std::slice::from_ref(&frame)), "clip-rate"),
        (one(1, 5, &[frame.clone(), chunk(b"00dc", &jpeg(16, 8, 7))]), "input-not-a-clip"),
        (one(1, 5, &[frame.clone(), chunk(b"00dc", b"no picture")]), "input-not-a-clip"),
        (one(1, 5, &[chunk(b"00dc", &jpeg(4_000, 3_000, 7))]), "input-too-large"),
        (one(1, 5, &vec![chunk(b"00dc", &[1]); 601]), "input-too-large"),
        (avi(&[stream_of(b"auds", b"\0\0\0\0", 1, 8_000)], std::slice::from_ref(&frame)), "clip-codec"),
        (avi(&[stream_of(b"vids", b"XV\x1bD", 1, 5)], std::slice::from_ref(&frame)), "clip-codec"),
    ] {
        assert_eq!(code(&bytes), wanted, "{}", bytes[..bytes.len().min(64)].escape_ascii());
    }
    let whole = one(1, 5, &[frame.clone(), frame]);
    for cut in [12, 40, 200, whole.len() / 2, whole.len() - 1] {
        assert_eq!(code(&whole[..cut]), "input-not-a-clip", "cut at {cut}");
    }
    for at in 0..whole.len().min(400) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let _ = code(&damaged);
    }
}
