//! Why a model cannot be used as it is, in words that say what to do.

use app_package::text::Text;

use super::{
    Given,
    facts::{Facts, dims},
    labels, recognise, say, shape,
};
use crate::model_file::{Header, Metadata, Signature};

/// What keeps a model from being used; none where [`recognise`] has a proposal.
pub fn obstacle(signature: &Signature, metadata: &Metadata, given: &Given) -> Option<Text> {
    if !recognise(signature, metadata, given).is_empty() {
        return None;
    }
    let facts = Facts::new(signature, metadata, given);
    Some(of(&facts).unwrap_or_else(|| {
        let (taken, made) = (list(facts.inputs), list(facts.outputs));
        say(
            format!("不认识这种导出：输入 {taken}；输出 {made}。请照 docs/PUBLISHING.md 手写 app.yaml"),
            format!("this export is not known: it takes {taken}, and gives {made}. Write app.yaml by hand, as docs/PUBLISHING.md says"),
        )
    }))
}

/// Tensors by name and shape, the first few.
fn list(headers: &[Header]) -> String {
    let mut out: Vec<String> = headers.iter().take(8).map(|h| format!("{} {}", labels::plain(&h.name, 60), shape(h))).collect();
    if headers.len() > out.len() {
        out.push("…".to_owned());
    }
    out.join(", ")
}

/// What no reading can get round.
pub(super) fn of(facts: &Facts<'_>) -> Option<Text> {
    if facts.inputs.is_empty() || facts.outputs.is_empty() {
        return Some(say("文件没有输入或没有输出", "the file has no input or no output"));
    }
    if facts.outputs.iter().any(|output| output.element == 0) {
        return Some(say(
            "有一个输出不是张量：导出时请关闭 ZipMap（skl2onnx、onnxmltools 用 zipmap=False）",
            "an output is no tensor; export without ZipMap (zipmap=False of skl2onnx and onnxmltools)",
        ));
    }
    let rows =
        |input: &Header| input.shape.as_deref().and_then(|shape| shape.first().copied().filter(|n| *n > 1 && matches!(shape.len(), 2 | 4)));
    if let Some(batch) = facts.inputs.iter().find_map(rows) {
        return Some(say(
            format!("批大小固定为 {batch}：请以批大小 1 或动态批导出"),
            format!("its batch is fixed to {batch}; export it with a batch of 1 or an open one"),
        ));
    }
    if facts.inputs.iter().any(|input| matches!(dims::<3>(input), Some([3, ..]))) {
        return Some(say(
            "输入为 [3,h,w]，没有批这一维：请以 [1,3,h,w] 导出",
            "it takes [3,h,w] without a dimension for the batch; export it with [1,3,h,w]",
        ));
    }
    let [output] = facts.outputs else { return without_nms(facts) };
    let face = |n: i64| matches!(n, 128 | 256 | 512) && facts.named().is_none();
    if facts.inputs.iter().any(|input| matches!(dims::<4>(input), Some([_, 3, 112, 112])))
        && dims::<2>(output).is_some_and(|[_, n]| face(n))
    {
        return Some(say(
            "输出像是特征向量（ArcFace）：请照 docs/PUBLISHING.md 的 gallery 手写，并给出特征库；若确为分类，请用 --labels 给出标签",
            "it seems to give an embedding (ArcFace) that is compared with a gallery: write `gallery` by hand, as docs/PUBLISHING.md says, with its vectors; where it is a class, give --labels",
        ));
    }
    let raw = output.shape.as_ref().is_some_and(|shape| shape.len() == 5);
    if facts.picture.is_some() && raw {
        return Some(without_decode());
    }
    None
}

fn without_decode() -> Text {
    say(
        "输出是未解码的原始网格：请连同解码一起导出（YOLOv5 的 export.py 默认如此）",
        "it gives raw grids; export it with the decoding in the graph (as export.py of YOLOv5 does)",
    )
}

/// Several outputs that only a decoder in code could join.
fn without_nms(facts: &Facts<'_>) -> Option<Text> {
    let ranks: Vec<usize> = facts.outputs.iter().map(|output| output.shape.as_ref().map_or(0, Vec::len)).collect();
    facts.picture.as_ref()?;
    if ranks.len() >= 3 && ranks.iter().all(|rank| *rank == 5) {
        return Some(without_decode());
    }
    (ranks.len() >= 6 && ranks.iter().all(|rank| *rank == 3)).then(|| {
        say(
            "各层的得分与距离分布分开给出，没有 NMS（PicoDet）：请连同后处理一起导出",
            "it gives scores and distances of each level apart, without NMS (PicoDet); export it with its post-processing",
        )
    })
}
