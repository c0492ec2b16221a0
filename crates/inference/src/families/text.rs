//! Text on pictures: PP-OCR's detector and recogniser.

use app_package::pipeline::{Activation, Blank, Color, Fit, Label, Layout, Post, PostGrid, PostText, PreImage};

use super::{
    Evidence, Proposal, Topic, ask,
    facts::{Facts, dims, fixed, is_float, may_be},
    say, shape,
};

/// Name of the alphabet's file in the package.
const ALPHABET: &str = "alphabet.txt";
/// Most characters that are read of a file's metadata.
const MAX_CHARACTERS: usize = 65_535;
/// Widest picture of a line that the app makes.
const WIDEST: u32 = 3_200;

/// `ppocr-rec` of the table: probabilities of characters along a line, with the alphabet in the metadata.
pub fn recogniser(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), [output], Some(characters)) = (facts.only_picture(), facts.outputs, facts.metadata.get("character")) else {
        return Vec::new();
    };
    let Some([_, _, classes]) = dims::<3>(output) else { return Vec::new() };
    let mut lines: Vec<&str> = characters.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    if !is_float(output) || picture.layout != Layout::Nchw || lines.is_empty() || lines.len() > MAX_CHARACTERS {
        return Vec::new();
    }
    // A blank is class 0; the space that PaddleOCR appends is in no list.
    match fixed(classes) {
        Some(n) if n == lines.len() + 2 => lines.push(" "),
        Some(n) if n == lines.len() + 1 => {}
        None => lines.push(" "),
        Some(_) => return Vec::new(),
    }
    if lines.iter().any(|line| line.is_empty()) {
        return Vec::new();
    }
    // What the file leaves open PP-OCR fixes: nothing is asked.
    let mut image = facts.image(picture, 320, &mut Vec::new());
    image.height = picture.height.unwrap_or(48);
    normalised(&mut image);
    image.fit = Fit::Pad;
    if picture.width.is_none() {
        (image.width, image.widest) = (320, Some(WIDEST));
    }
    let post = PostText { output: output.name.clone(), alphabet: ALPHABET.into(), blank: Blank::First, activation: Activation::None };
    let mut alphabet = lines.join("\n");
    alphabet.push('\n');
    let count = lines.len();
    let because = vec![
        say(
            format!("元数据 character：{count} 个字符，写入 {ALPHABET}"),
            format!("metadata character: {count} characters, written to {ALPHABET}"),
        ),
        say(format!("输出 {}：沿一行的字符概率（CTC）", shape(output)), format!("output {}: characters along a line (CTC)", shape(output))),
    ];
    let note = say(
        "整幅图像当作一行文字；若先用检测模型找出文字，请在此步写 of",
        "the whole picture is taken for one line; where another model finds the lines, write of in this step",
    );
    let proposal = Proposal::of_picture("ppocr-rec", Evidence::Metadata, (picture, image), Post::Text(post), because, Vec::new());
    vec![Proposal { notes: vec![note], files: vec![(ALPHABET.to_owned(), alphabet)], ..proposal }]
}

/// `dbnet` of the table: a map of where text is, for pictures of any size.
pub fn detector(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), [output]) = (facts.only_picture(), facts.outputs) else { return Vec::new() };
    let Some([batch, one, h, w]) = dims::<4>(output) else { return Vec::new() };
    let open = picture.width.is_none() && picture.height.is_none() && fixed(h).is_none() && fixed(w).is_none();
    if !is_float(output) || !may_be(batch, 1) || one != 1 || !open || picture.gray || picture.layout != Layout::Nchw {
        return Vec::new();
    }
    let mut image = facts.image(picture, 2_048, &mut Vec::new());
    normalised(&mut image);
    (image.fit, image.multiple, image.shorter) = (Fit::Multiple, Some(32), Some(736));
    let zh = "这像是 DBNet（PP-OCR 文字检测）；若是别的热力图，请改写 turn、unclip 与阈值";
    let en = "this looks like DBNet (text detection of PP-OCR); of another heat map write turn, unclip and the thresholds anew";
    let questions = vec![ask(Topic::Picture, zh, en, "DBNet")];
    let post = PostGrid {
        output: output.name.clone(),
        labels: vec![Label { id: "text".into(), text: say("文字", "Text") }],
        score: 0.3,
        activation: Activation::None,
        mean: Some(0.5),
        dilate: true,
        turn: true,
        unclip: Some(1.6),
    };
    let because = say(
        format!("输出 {}：与图像同大的概率图，大小随图像而定", shape(output)),
        format!("output {}: a map as large as the picture, whose size is open", shape(output)),
    );
    vec![Proposal::of_picture("dbnet", Evidence::Shape, (picture, image), Post::Grid(post), vec![because], questions)]
}

/// Pictures as PP-OCR takes them: blue first, −1 to 1.
fn normalised(image: &mut PreImage) {
    image.color = if image.color == Color::Gray { Color::Gray } else { Color::Bgr };
    let channels = if image.color == Color::Gray { 1 } else { 3 };
    (image.mean, image.std) = (vec![0.5; channels], vec![0.5; channels]);
}
