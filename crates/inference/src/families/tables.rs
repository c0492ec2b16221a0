//! Classifiers of pictures, anomaly scores, rows of a table, windows of a time series.

use app_package::{
    manifest::InputKind,
    pipeline::{
        Activation, Column, ColumnKind, ErrorKind, Filter, Fit, Label, Layout, Missing, ModelStep, Post, PostAnomaly, PostClasses,
        PostValues, Pre, PreColumns, PreWindow, ValueItem, WindowLayout,
    },
    text::Text,
};

use super::{
    Evidence, Proposal, Question, Topic, ask,
    facts::{Facts, dims, fixed, is_float, may_be, normalise},
    labels, say, tensor,
};
use crate::model_file::Header;

/// Most columns and most values of a step, as `app.yaml` takes them.
const MAX_COLUMNS: usize = 256;
/// Longest window, as `app.yaml` takes it.
const MAX_ROWS: usize = 100_000;
/// Longest name of a column, as `app.yaml` takes it.
const MAX_NAME: usize = 100;

/// `anomalib` of the table: a score from 0 to 1; resizing and normalising are in the graph.
pub fn anomalib(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), Some(score)) = (facts.only_picture(), facts.float("pred_score")) else { return Vec::new() };
    let mut questions = Vec::new();
    let mut image = facts.image(picture, 256, &mut questions);
    image.filter = Filter::LinearAntialias;
    let map = facts.float("anomaly_map").map(|map| map.name.clone());
    let label = Label { id: "anomaly".into(), text: say("异常", "Anomaly") };
    let (reconstruction, error) = (None, ErrorKind::default());
    let post = PostAnomaly { output: Some(score.name.clone()), map, reconstruction, error, threshold: 0.5, label };
    let because = say(
        format!("输出 {}：anomalib 归一化后的得分，0.5 为阈值", tensor(score)),
        format!("output {}: anomalib's score, 0.5 is the threshold after its normalisation", tensor(score)),
    );
    vec![Proposal::of_picture("anomalib", Evidence::Names, (picture, image), Post::Anomaly(post), vec![because], questions)]
}

/// `imagenet` of the table: one number for each class.
pub fn imagenet(facts: &Facts<'_>) -> Vec<Proposal> {
    let (Some(picture), [output]) = (facts.only_picture(), facts.outputs) else { return Vec::new() };
    let Some([batch, count]) = dims::<2>(output) else { return Vec::new() };
    if !is_float(output) || !may_be(batch, 1) || fixed(count) == Some(1) || facts.ultralytics.is_some() {
        return Vec::new();
    }
    // How many classes there are is known, from the file or the developer; a reader of text has as many columns as its picture is wide.
    if fixed(count).is_none() && facts.named().is_none() {
        return Vec::new();
    }
    let mut questions = Vec::new();
    let Some(found) = labels::resolve(facts, fixed(count), &mut questions) else { return Vec::new() };
    let mut image = facts.image(picture, 224, &mut questions);
    (image.fit, image.crop, image.filter) = (Fit::Crop, 0.875, Filter::LinearAntialias);
    let mut default = "rgb, /255, ImageNet, crop 0.875";
    if picture.layout == Layout::Nhwc {
        // Keras puts channels last and keeps its scaling in the graph more often than not.
        default = "rgb, /255, crop 0.875";
    } else {
        normalise(&mut image);
    }
    let zh = "请对照训练代码：裁剪、通道顺序、除数、均值与标准差";
    let en = "see the training code for the crop, the order of channels, the divisor, mean and std";
    questions.push(ask(Topic::Picture, zh, en, default));
    let softmax = facts.signature.softmax.contains(&output.name);
    if !softmax {
        let zh = "图的末尾不是 softmax，因此在此计算；若模型给出的已是概率，请改为 none";
        let en = "the graph does not end in a softmax, so it is done here; write none where the model gives probabilities";
        questions.push(ask(Topic::Activation, zh, en, "softmax"));
    }
    let activation = if softmax { Activation::None } else { Activation::Softmax };
    let post = PostClasses { output: output.name.clone(), labels: found, softmax: None, activation, top: None };
    let (zh, en) = if softmax { ("，末尾为 softmax", ", a softmax makes it") } else { ("", "") };
    let output = tensor(output);
    let because = say(format!("输出 {output}：每类一个数{zh}"), format!("output {output}: a number per label{en}"));
    vec![Proposal::of_picture("imagenet", Evidence::Shape, (picture, image), Post::Classes(post), vec![because], questions)]
}

/// What a model without a picture gives: classes and values, the likelier first.
fn results(facts: &Facts<'_>) -> Vec<(Post, Text, Vec<Question>)> {
    let floats = |output: &&Header| is_float(output) && output.shape.as_ref().is_none_or(|shape| shape.len() <= 3);
    // Converters of scikit-learn and LightGBM give the best label beside the probabilities.
    let probabilities = facts.outputs.iter().find(|output| matches!(output.name.as_str(), "probabilities" | "output_probability"));
    let Some(output) = probabilities.filter(|output| is_float(output)).or_else(|| facts.outputs.iter().find(floats)) else {
        return Vec::new();
    };
    let wide = output.shape.as_deref().unwrap_or_default();
    let inner = wide.get(1..).unwrap_or_default();
    // Numbers in a row; what stands for the batch is no part of them.
    let count = inner.iter().try_fold(1usize, |product, n| fixed(*n).and_then(|n| product.checked_mul(n)));
    let softmax = facts.signature.softmax.contains(&output.name);
    let classes = || {
        let mut questions = Vec::new();
        let labels = labels::resolve(facts, count, &mut questions)?;
        let because = say(format!("输出 {}：每类的概率", tensor(output)), format!("output {}: a probability per label", tensor(output)));
        let post = PostClasses { output: output.name.clone(), labels, softmax: None, activation: Activation::None, top: None };
        Some((Post::Classes(post), because, questions))
    };
    let values = || {
        let n = count.filter(|n| (1..=MAX_COLUMNS).contains(n))?;
        let known = |at: usize| facts.given.labels.get(at).map(|word| labels::plain(word, 80)).filter(|word| !word.is_empty());
        let items = (1..=n).map(|at| {
            let text = known(at - 1).map_or_else(|| say(format!("数值 {at}"), format!("Value {at}")), |word| labels::words(&word));
            ValueItem::new(format!("value-{at}"), text)
        });
        let zh = "请写明每个数值的名称、单位与换算（scale、offset）";
        let en = "write what each number is: its name, unit, scale and offset";
        let because = say(format!("输出 {}：{n} 个数", tensor(output)), format!("output {}: {n} numbers", tensor(output)));
        let post = PostValues { output: output.name.clone(), items: items.collect() };
        Some((Post::Values(post), because, vec![ask(Topic::Values, zh, en, format!("{n}"))]))
    };
    if probabilities.is_some() || softmax {
        return classes().into_iter().collect();
    }
    let both = count != Some(1) && wide.len() == 2;
    values().into_iter().chain(both.then(classes).flatten()).collect()
}

/// A row of the table for what reads CSV, one proposal for each kind of result.
pub fn proposals(
    facts: &Facts<'_>,
    (family, input): (&'static str, InputKind),
    into: Option<&Header>,
    pre: &Pre,
    because: &Text,
    questions: &[Question],
) -> Vec<Proposal> {
    let text = facts.outputs.iter().find(|output| output.datatype() == Some("BYTES"));
    let note = text.map(|output| {
        let name = labels::plain(&output.name, 80);
        say(format!("输出 {name} 为文本，不使用"), format!("output {name} is text and is not used"))
    });
    let found = results(facts).into_iter().enumerate();
    let named = facts.outputs.iter().any(|output| matches!(output.name.as_str(), "probabilities" | "variable" | "output_probability"));
    found
        .map(|(at, (post, result, more))| Proposal {
            family,
            evidence: if named { Evidence::Names } else { Evidence::Shape },
            second: at > 0,
            input,
            step: ModelStep::of_model(pre.clone(), into.map(|taken| taken.name.clone()), vec![post]),
            because: vec![because.clone(), result],
            questions: questions.iter().cloned().chain(more).collect(),
            notes: note.clone().into_iter().collect(),
            files: Vec::new(),
        })
        .collect()
}

/// So many columns, named as the developer does; `missing` is the rule of those that have gaps in a sample.
fn columns_of(facts: &Facts<'_>, n: usize, missing: Missing, questions: &mut Vec<Question>) -> Vec<Column> {
    let given = &facts.given.columns;
    if given.len() != n {
        let (zh, en) = if given.is_empty() {
            (
                "文件没有写明列名，请按模型的顺序填写".to_owned(),
                "the file does not name its columns; write them in the model's order".to_owned(),
            )
        } else {
            (format!("表格有 {} 列，模型需要 {n} 列", given.len()), format!("the table has {} columns, the model takes {n}", given.len()))
        };
        questions.push(ask(Topic::Columns, zh, en, format!("column_1 … column_{n}")));
    }
    let numbered = |at: usize| format!("column_{}", at + 1);
    let usable = |name: &String| !labels::plain(name, MAX_NAME).is_empty() && labels::plain(name, MAX_NAME) == *name;
    let names: Vec<String> = if given.len() == n && given.iter().all(usable) { given.clone() } else { (0..n).map(numbered).collect() };
    let mut columns: Vec<Column> = names.into_iter().map(Column::plain).collect();
    fill_gaps(facts, &mut columns, missing, questions);
    columns
}

/// Says of each column with gaps in a sample what stands for them: of numbers this, of texts an empty one.
pub fn fill_gaps(facts: &Facts<'_>, columns: &mut [Column], missing: Missing, questions: &mut Vec<Question>) {
    let mut named = Vec::new();
    for column in columns.iter_mut().filter(|column| facts.given.gaps.contains(&column.name)) {
        column.missing = if column.kind == ColumnKind::Text { Missing::Empty } else { missing };
        named.push(column.name.clone());
    }
    if !named.is_empty() {
        let named = named.join(", ");
        let zh = format!("样本中 {named} 有空缺；请核对模型训练时如何处理");
        let en = format!("{named} have gaps in a sample; see what stood for them in training");
        let default = if missing == Missing::Last { "missing: last" } else { "missing: nan" };
        questions.push(ask(Topic::Columns, zh, en, default));
    }
}

/// `columns` of the table: one row of numbers in one tensor.
pub fn columns(facts: &Facts<'_>) -> Vec<Proposal> {
    let [taken] = facts.inputs else { return Vec::new() };
    let Some([batch, n]) = dims::<2>(taken) else { return Vec::new() };
    if !is_float(taken) || !may_be(batch, 1) {
        return Vec::new();
    }
    let n = fixed(n).or(Some(facts.given.columns.len()).filter(|n| *n > 0));
    let Some(n) = n.filter(|n| *n <= MAX_COLUMNS) else { return Vec::new() };
    let mut questions = Vec::new();
    let pre = Pre::Columns(PreColumns { names: columns_of(facts, n, Missing::Nan, &mut questions), each: false });
    let because = say(format!("输入 {}：一行 {n} 个数", tensor(taken)), format!("input {}: a row of {n} numbers", tensor(taken)));
    proposals(facts, ("columns", InputKind::Tabular), Some(taken), &pre, &because, &questions)
}

/// `timeseries` of the table: rows of several columns in one tensor.
pub fn timeseries(facts: &Facts<'_>) -> Vec<Proposal> {
    let [taken] = facts.inputs else { return Vec::new() };
    let Some([batch, a, b]) = dims::<3>(taken) else { return Vec::new() };
    let (Some(a), Some(b)) = (fixed(a), fixed(b)) else { return Vec::new() };
    if !is_float(taken) || !may_be(batch, 1) {
        return Vec::new();
    }
    // The longer side is mostly that of time; a table with the right number of columns settles it.
    let given = facts.given.columns.len();
    let time_major = if given > 0 && (given == a) != (given == b) { given == b } else { a >= b };
    let (length, n, layout) = if time_major { (a, b, WindowLayout::TimeMajor) } else { (b, a, WindowLayout::ChannelMajor) };
    let (true, Ok(rows)) = (n <= MAX_COLUMNS && length <= MAX_ROWS, u32::try_from(length)) else { return Vec::new() };
    let mut questions = Vec::new();
    let columns = columns_of(facts, n, Missing::Last, &mut questions);
    if a > 1 && b > 1 && given != n {
        let zh = "哪一维是时间？这里取较长的一维";
        let en = "which dimension is time? The longer one is taken";
        questions.push(ask(Topic::Window, zh, en, if time_major { "time-major" } else { "channel-major" }));
    }
    let zh = "请填写训练集各列的均值 mean 与标准差 std；不填则原样输入";
    let en = "write mean and std of each column from the training set; without them numbers go in as they are";
    questions.push(ask(Topic::Scaling, zh, en, "none"));
    let pre = Pre::Window(PreWindow { columns, length: rows, layout, mean: Vec::new(), std: Vec::new(), spectrum: None });
    let because = say(
        format!("输入 {}：{length} 行、{n} 列的窗口", tensor(taken)),
        format!("input {}: a window of {length} rows and {n} columns", tensor(taken)),
    );
    proposals(facts, ("timeseries", InputKind::Timeseries), Some(taken), &pre, &because, &questions)
}
