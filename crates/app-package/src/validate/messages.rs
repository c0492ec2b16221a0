//! The words of every fault: what is wrong and what to do, by code. The only home of these texts.

/// One row: a code and its message in both languages. `{name}` quotes an argument, `{key}` the place.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Stable kebab-case word.
    pub code: &'static str,
    /// Simplified Chinese.
    pub zh: &'static str,
    /// English.
    pub en: &'static str,
}

/// Every argument name that a message may quote.
pub const ARGUMENTS: &[&str] = &["value", "hint", "detail", "list", "keys", "min", "max"];

/// The row of a code.
pub fn find(code: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.code == code)
}

const fn row(code: &'static str, zh: &'static str, en: &'static str) -> Message {
    Message { code, zh, en }
}

/// All messages, one row for each code.
pub const MESSAGES: &[Message] = &[
    row(
        "yaml-too-large",
        "app.yaml 有 {value} 字节，最多 {max} 字节。请把长文本移到单独的文件。",
        "app.yaml has {value} bytes, at most {max} are allowed. Move long texts into files of their own.",
    ),
    row(
        "yaml-syntax",
        "YAML 语法错误（{detail}）。请检查缩进、引号和冒号后的空格。",
        "YAML syntax error: {detail}. Check indentation, quotes and the space after colons.",
    ),
    row("yaml-too-complex", "YAML 的节点太多。请删去不需要的内容。", "The YAML has too many nodes. Remove what is not needed."),
    row("yaml-too-deep", "YAML 嵌套超过 {max} 层。请减少嵌套。", "The YAML is nested more than {max} levels deep. Flatten it."),
    row(
        "yaml-documents",
        "文件中有多个 YAML 文档。请只保留一个，删去多余的 --- 行。",
        "The file holds more than one YAML document. Keep one and remove the extra --- line.",
    ),
    row(
        "yaml-alias",
        "不允许锚点、别名和合并键（&、*、<<）。请把内容直接写出来。",
        "Anchors, aliases and merge keys (&, *, <<) are not allowed. Write the content out.",
    ),
    row("yaml-tag", "不允许 YAML 标签（以 ! 开头）。请删去标签。", "YAML tags (beginning with !) are not allowed. Remove the tag."),
    row(
        "yaml-not-a-map",
        "app.yaml 的最外层必须是“键: 值”。请从 format: 1 开始写。",
        "The top level of app.yaml must be keys with values. Begin with format: 1.",
    ),
    row("yaml-empty", "app.yaml 是空的。请从 format: 1 开始写。", "app.yaml is empty. Begin with format: 1."),
    row(
        "key-not-text",
        "键必须是文字，不能是列表、映射或空。请改成一个单词。",
        "A key must be a word, not a list, a map or nothing. Write a word.",
    ),
    row("duplicate-key", "键 {value} 出现了两次。请只保留一个。", "The key {value} stands here twice. Keep one of them."),
    row("unknown-key", "未知的键 {value}。这里允许的键：{list}。", "Unknown key {value}. Allowed here: {list}."),
    row("unknown-key-hint", "未知的键 {value}。您是不是要写 {hint}？", "Unknown key {value}. Did you mean {hint}?"),
    row("missing-key", "缺少必填的键 {value}。请补上。", "The required key {value} is missing. Add it."),
    row("exactly-one-key", "这里必须恰好有下列键中的一个：{list}。", "Exactly one of these keys must stand here: {list}."),
    row("empty-value", "值是空的。请填写，或删去这个键。", "The value is empty. Fill it in or remove the key."),
    row("wrong-type-text", "这里应是文字，不是 {value}。", "Text is wanted here, not {value}."),
    row(
        "wrong-type-int",
        "这里应是整数，不是 {value}。请写不带引号的数字。",
        "A whole number is wanted here, not {value}. Write digits without quotes.",
    ),
    row(
        "wrong-type-number",
        "这里应是数字，不是 {value}。请写不带引号的数字。",
        "A number is wanted here, not {value}. Write it without quotes.",
    ),
    row("wrong-type-bool", "这里应是 true 或 false，不是 {value}。", "true or false is wanted here, not {value}."),
    row(
        "wrong-type-list",
        "这里应是列表，不是 {value}。请每项一行，以 - 开头。",
        "A list is wanted here, not {value}. Write one item per line, each beginning with -.",
    ),
    row("wrong-type-map", "这里应是“键: 值”，不是 {value}。", "Keys with values are wanted here, not {value}."),
    row("text-shape", "文字要分语言写：zh: 中文，en: 英文。", "Write the text by language: zh: Chinese, en: English."),
    row("text-empty", "中文和英文至少要填一种。请填写 zh 或 en。", "At least one language must be filled. Write zh or en."),
    row(
        "text-too-long",
        "文字有 {value} 个字符，最多 {max} 个。请缩短。",
        "The text has {value} characters, at most {max} are allowed. Shorten it.",
    ),
    row("text-one-line", "这里只能写一行。请去掉换行和制表符。", "This must be one line. Remove line breaks and tabs."),
    row("text-control", "文字中有不可见的控制字符。请删去。", "The text holds invisible control characters. Remove them."),
    row(
        "format-unsupported",
        "不支持格式 {value}。请写 format: 2 或 format: 1。",
        "Format {value} is not supported. Write format: 2 or format: 1.",
    ),
    row("not-one-of", "{value} 不是允许的词。请从中选一个：{list}。", "{value} is not allowed here. Choose one of: {list}."),
    row("out-of-range", "{value} 超出范围，必须在 {min} 和 {max} 之间。", "{value} is out of range; it must be between {min} and {max}."),
    row("number-not-finite", "这里必须是有限的数，不能是 NaN 或无穷大。", "A finite number is wanted here, not NaN or infinity."),
    row("list-length", "这里有 {value} 项，必须有 {min} 到 {max} 项。", "There are {value} items here; there must be {min} to {max}."),
    row(
        "slug-shape",
        "{value} 不是合法的标识。请只用小写字母、数字和单个连字符，例如 belt-watch。",
        "{value} is not a slug. Use lower-case letters, digits and single hyphens, such as belt-watch.",
    ),
    row(
        "ident-shape",
        "{value} 不是合法的名称。请只用小写字母、数字和单个 - 或 _。",
        "{value} is not a valid name. Use lower-case letters, digits and single - or _.",
    ),
    row(
        "snake-shape",
        "{value} 不是合法的参数名。请以小写字母开头，只用小写字母、数字和下划线。",
        "{value} is not a parameter name. Begin with a lower-case letter; use lower-case letters, digits and underscores.",
    ),
    row(
        "version-shape",
        "{value} 不是语义化版本。请写三段数字，例如 1.0.0。",
        "{value} is not a semantic version. Write three numbers, such as 1.0.0.",
    ),
    row(
        "version-build",
        "版本 {value} 带有 + 号后的构建信息，不能作为标签。请去掉 + 及其后的部分。",
        "Version {value} has build metadata after a +, which a tag cannot hold. Remove the + and what follows.",
    ),
    row(
        "min-version-shape",
        "{value} 不是版本下限。请写两段数字，例如 1.17。",
        "{value} is not a lowest version. Write two numbers, such as 1.17.",
    ),
    row(
        "row-part",
        "{value} 不是一行的组成部分。请写 box、objectness、scores、score、class 或 skip-N。",
        "{value} is no part of a row. Write box, objectness, scores, score, class or skip-N.",
    ),
    row(
        "row-incomplete",
        "一行必须恰好有一个 box，并且有 scores，或者 score 与 class；同一部分不能出现两次。现在是：{value}。",
        "A row has box once, and scores, or score and class; no part comes twice. This is: {value}.",
    ),
    row("feed-shape", "{value} 不是数，也不是其中之一：{list}。", "{value} is no number, no list of numbers, and none of: {list}."),
    row("input-unknown", "模型没有输入 {value}。可选：{list}。", "The model has no input {value}. There are: {list}."),
    row(
        "input-unfed",
        "没有任何内容填入这些输入：{list}。请在 feed 中写出除一个以外的所有输入，或用 into 指定由 pre 填入的那一个。",
        "Nothing fills these inputs: {list}. Put all but one into feed, or name with into the one that pre fills.",
    ),
    row("feed-needs-picture", "{value} 只有在应用读取图片时才有。", "{value} is known only where the app reads a picture."),
    row("path-empty", "路径是空的。请写包内文件的路径。", "The path is empty. Write the path of a file in the package."),
    row(
        "path-too-long",
        "路径 {value} 太长：总长最多 200 字节，每段最多 100 字节。请用更短的文件名。",
        "The path {value} is too long: at most 200 bytes, each part at most 100. Use shorter names.",
    ),
    row("path-too-deep", "路径 {value} 超过 8 层。请减少文件夹层数。", "The path {value} has more than 8 parts. Use fewer folders."),
    row(
        "path-absolute",
        "{value} 是绝对路径。请写相对于 app.yaml 所在文件夹的路径。",
        "{value} is an absolute path. Write it relative to the folder of app.yaml.",
    ),
    row(
        "path-parent",
        "路径 {value} 含有 ..，会离开包。请把文件放进包内。",
        "The path {value} has .. and would leave the package. Put the file inside.",
    ),
    row(
        "path-part",
        "路径 {value} 有空的一段、“.”段，或某段以空格开头、以空格或点结尾。请改名。",
        "The path {value} has an empty part, a . part, or a part that begins with a space or ends with a space or dot. Rename it.",
    ),
    row(
        "path-character",
        "路径 {value} 含有文件名不允许的字符。请用 / 分隔，并去掉 \\ : * ? \" < > | 和控制字符。",
        "The path {value} has a character that file names may not have. Separate with / and remove \\ : * ? \" < > | and control characters.",
    ),
    row(
        "path-combining",
        "路径 {value} 中有由字母加组合符号两个字符写成的字母，不同系统上会成为不同的文件。请改名，最好只用普通字母和汉字。",
        "The path {value} has a letter written as two characters, a letter and a combining mark; systems take it for different files. Rename it.",
    ),
    row(
        "file-extension",
        "文件 {value} 的扩展名不对。这里可用：{list}。",
        "The file {value} has the wrong extension. Allowed here: {list}.",
    ),
    row("duplicate-name", "名称 {value} 用了两次。请换一个名称。", "The name {value} is used twice. Choose another."),
    row(
        "pre-not-for-input",
        "输入类型 {value} 的前处理应是 {hint}。请改用 {hint}:。",
        "Input kind {value} is prepared with {hint}. Write {hint}: here.",
    ),
    row(
        "per-channel",
        "这里有 {value} 个数，应有 {max} 个（每个通道或列一个），或者留空。",
        "There are {value} numbers here; write {max} (one per channel or column) or none.",
    ),
    row(
        "audio-column",
        "音频只有一列 amplitude。请写 columns: [amplitude]。",
        "Audio has the one column amplitude. Write columns: [amplitude].",
    ),
    row(
        "input-datatype",
        "前处理产生 FP32 张量。请写 datatype: FP32，并让模型接受它。",
        "Pre-processing makes FP32 tensors. Write datatype: FP32 and have the model take it.",
    ),
    row(
        "input-shape",
        "输入张量的形状是 {value}，而前处理产生 {hint}。请改其中之一。",
        "The input tensor's shape is {value}, but pre-processing makes {hint}. Change one of them.",
    ),
    row(
        "output-unknown",
        "模型没有名为 {value} 的输出。已声明的输出：{list}。",
        "The model has no output named {value}. Declared outputs: {list}.",
    ),
    row(
        "of-first",
        "第一步之前没有找到任何目标，不能写 of。请把找出目标的步骤放在前面，或删去 of。",
        "Nothing has found objects before the first step, so it cannot have of. Put the step that finds them before it, or remove of.",
    ),
    row("of-needs-picture", "of 从图像中截取目标，因此 pre 必须是 image。", "of cuts objects out of a picture, so pre must be image."),
    row(
        "of-label",
        "前面的步骤不会给出标签 {value}。可用的标签：{list}。",
        "No step before this one gives the label {value}. Labels there: {list}.",
    ),
    row(
        "of-turn",
        "转正的截图中找到的框无法换算回原图：{hint} 与 {value} 不能同时使用。请删去 {hint}。",
        "Boxes found in a part that was turned cannot be told in the picture: {hint} does not go with {value}. Remove {hint}.",
    ),
    row(
        "of-align",
        "align 需要目标有五个关键点，依次为左眼、右眼、鼻尖、左嘴角、右嘴角。请在前面的 boxes 中用 keypoints 写出它们，或删去 align。",
        "align needs five points on the object: left eye, right eye, nose, left and right corner of the mouth, in this order. Give them as keypoints of the boxes before, or remove align.",
    ),
    row(
        "of-align-alone",
        "align 已决定截取的部分，expand、square 和 turn 不起作用。请删去它们。",
        "align decides which part is cut out, so expand, square and turn say nothing. Remove them.",
    ),
    row(
        "tiles-need-boxes",
        "tiles 只能与唯一一个 boxes 同用，其中没有 angle，也没有 of：只有这样的框能跨图块合并。请改写 post，或删去 tiles。",
        "tiles goes with one boxes step alone, without angle and without of: only such boxes are merged across tiles. Change post, or remove tiles.",
    ),
    row("range-order", "{min} 应小于 {max}。请先写较小的数。", "{min} must be less than {max}. Write the smaller number first."),
    row(
        "spectrum-rate-twice",
        "声音的采样率已由 sound.rate 给出。请删去 spectrum 中的 rate。",
        "sound.rate says the rate already. Remove rate from spectrum.",
    ),
    row("spectrum-bands-twice", "mel 与 bands 只能写一个。请删去其中之一。", "Write either mel or bands, not both. Remove one."),
    row(
        "spectrum-columns",
        "有 {value} 列，这种 layout 只容一列。请写 nctf、ncft 或 flat。",
        "There are {value} columns, and this layout holds one. Write nctf, ncft or flat.",
    ),
    row(
        "spectrum-layout",
        "有 spectrum 时维度的顺序由 spectrum.layout 决定。请删去这里的 layout。",
        "With spectrum its own layout says the order of dimensions. Remove this layout.",
    ),
    row(
        "spectrum-per-band",
        "这里有 {value} 个数，应有 1 个或 {max} 个（每个频率或频带一个），或者留空。",
        "There are {value} numbers here; write 1, {max} (one per frequency or band), or none.",
    ),
    row(
        "spectrum-too-short",
        "一窗有 {value} 个采样点，一帧需要 {min} 个。请增大 length，减小 frame 或 fft，或写 pad。",
        "A window has {value} samples, and a frame needs {min}. Write a larger length, a smaller frame or fft, or pad.",
    ),
    row(
        "spectrum-too-large",
        "一窗有 {value} 次变换，太多：次数乘以 fft 最多 {max}，张量最多 4194304 个数。请增大 hop 或减小 length。",
        "A window has {value} transforms, which is too many: times fft at most {max}, and at most 4194304 numbers in the tensor. Write a larger hop or a smaller length.",
    ),
    row("steps-no-model", "steps 中没有运行模型的步骤。请至少写一个 model。", "No step runs a model. Write at least one model."),
    row(
        "post-missing",
        "没有任何步骤读取该模型的输出。请写 post，或紧接其后写一个 in 含 tensors 的 wasm 步骤。",
        "Nothing reads this model's outputs. Write post, or right after it a wasm step whose in has tensors.",
    ),
    row("wasm-needs-picture", "{value} 只用于图像应用（input: image）。请删去。", "{value} goes with input: image only. Remove it."),
    row(
        "wasm-needs-clip",
        "{value} 只用于 input: video；state 还要求本步骤不带 of。请删去。",
        "{value} goes with input: video, and state with a step that has no of. Remove it.",
    ),
    row(
        "wasm-tensors",
        "tensors 是紧接在前的模型的输出：该模型须对整个输入只运行一次（没有 of 和 tiles，不是 sound），本步骤也不能有 of。请移动本步骤或删去 tensors。",
        "tensors are the outputs of the model right before, which must run once on the whole input (no of, no tiles, no sound), and this step must have no of. Move the step, or remove tensors.",
    ),
    row(
        "wasm-nothing-before",
        "前面的步骤不会给出 {value}。请把给出它的步骤放在前面，或删去 {value}。",
        "No step before this one gives {value}. Put the step that does before it, or remove {value}.",
    ),
    row("wasm-out-needs", "out: {value} 需要 {hint}。请写上。", "out: {value} needs {hint}. Write it."),
    row(
        "wasm-out-without",
        "{hint} 与 out: {value} 不能同时使用（unit 只用于读取 tensors 并给出 objects 的步骤）。请删去 {hint}。",
        "{hint} does not go with out: {value} (unit is for steps that read tensors and give objects). Remove {hint}.",
    ),
    row(
        "span-shape",
        "{value} 不是时长。请写数字加单位 ms、s、m 或 h，例如 0.6s 或 10m。",
        "{value} is no length of time. Write a number with ms, s, m or h, such as 0.6s or 10m.",
    ),
    row(
        "needs-video",
        "{value} 只用于 input: video。请改 input，或删去它。",
        "{value} is for input: video alone. Change the input, or remove it.",
    ),
    row("track-twice", "只能有一个 track 步骤。请删去多余的。", "There is one track step at most. Remove the others."),
    row(
        "track-first",
        "track 之前没有步骤找出目标。请把它放在 boxes、grid、segments 或 anomaly 之后。",
        "No step before track finds objects. Put it after boxes, grid, segments or anomaly.",
    ),
    row("label-unknown", "没有步骤给出标签 {value}。可用的标签：{list}。", "No step gives the label {value}. Labels there: {list}."),
    row(
        "scene-needs-track",
        "区域和界线需要跟踪目标。请在 steps 中加上 track 步骤。",
        "Zones and lines need objects that are followed. Add a track step.",
    ),
    row("per-needs", "per: {value} 需要 {hint}。请加上它，或写 per: camera。", "per: {value} needs {hint}. Add it, or write per: camera."),
    row(
        "clip-large",
        "模型的片段太大：所有帧合计最多 {max} 像素。请减少 frames 或尺寸。",
        "The model's clip is too large: at most {max} pixels in all frames. Lower frames or the size.",
    ),
    row(
        "clip-image",
        "片段中的图像必须大小固定，layout 为 nchw，不用 tiles 和 window。维度的顺序请写在 clip.layout。",
        "Pictures of a clip have a fixed size, the layout nchw, and neither tiles nor window. The order of dimensions is clip.layout.",
    ),
    row(
        "every-finds",
        "every 不能用于找出目标的步骤或带 of 的步骤：两次运行之间无法跟踪。请删去 every。",
        "A step that finds objects, or runs for them, has no every: nothing could be followed between its runs. Remove every.",
    ),
    row("scene-unknown", "scene 中没有 {value}。可用：{list}。", "The scene has no {value}. It has: {list}."),
    row(
        "scene-missing",
        "样本没有画出 {value}，而它是 required。请画出它。",
        "The sample does not draw {value}, which is required. Draw it.",
    ),
    row("truth-event-unknown", "应用中没有 {value}。可用：{list}。", "The app has no {value} of this kind. It has: {list}."),
    row(
        "truth-event-what",
        "一个事件须恰好写 rule、zone、line、procedure 之一（rule 可另写 zone）；label 只用于 zone 和 line，direction 只用于 line，state 只用于 procedure。",
        "An event has exactly one of rule, zone, line and procedure (a rule may also have a zone); label goes with zone and line, direction with line, state with procedure.",
    ),
    row(
        "truth-event-times",
        "事件在开始之前就结束了。请写 begin，需要时写不早于它的 end，单位为片段开头起的秒数。",
        "The event ends before it begins. Write begin, and where it ends an end that is not before it, in seconds from the clip's beginning.",
    ),
    row("polygon-crosses", "区域 {value} 的边相交。请按顺序排列各角。", "The sides of zone {value} cross. Put its corners in order."),
    row("polygon-small", "区域 {value} 不到画面的 0.1%。请画大一些。", "Zone {value} is less than 0.1 % of the picture. Draw it larger."),
    row("line-short", "界线 {value} 太短。请把两端分开。", "Line {value} is too short. Move its ends apart."),
    row(
        "parameter-undeclared",
        "应用没有参数 {value}。请在 parameters 中声明，或删去。",
        "The app has no parameter {value}. Declare it under parameters, or remove it.",
    ),
    row(
        "column-text",
        "文字列只有在每列是单独的输入时才能使用。请写 each: true。",
        "A column of texts needs an input of its own. Write each: true.",
    ),
    row(
        "column-missing",
        "{value} 不能代替这一列的空单元格。可用：{list}，数字列也可以写一个数。",
        "{value} cannot stand for an empty cell of this column. Write one of {list}; for a column of numbers also a number.",
    ),
    row(
        "feed-needs-sound",
        "{value} 说的是声音，而这一步不读声音。请写数字。",
        "{value} tells of sound, and this step reads none. Write numbers.",
    ),
    row(
        "state-needs-sequence",
        "state 在一段声音的各个窗口之间，或在 input: video 的各帧之间传递，模型须每帧对整幅画面运行一次。请使用 pre: sound 或 input: video（不带 of 和 tiles），或删去 state。",
        "state is carried between the windows of a sound, or between the frames of input: video where the model runs once on the whole frame. Write pre: sound, or input: video without of and tiles, or remove state.",
    ),
    row(
        "row-needs",
        "row 与 {value} 必须一致：masks-N 需要 prototypes，keypoints 需要 keypoints，angle 需要 box: cxcywh；反之亦然。",
        "row and {value} do not agree: masks-N needs prototypes, keypoints needs keypoints, angle needs box: cxcywh, and the other way round.",
    ),
    row(
        "anomaly-source",
        "没有说明从哪里读取异常。请写 output、map 或 reconstruction。",
        "Nothing says where the anomaly is read. Write output, map or reconstruction.",
    ),
    row(
        "boxes-row",
        "{value} 个标签与这样的 row 不符合输出张量的形状 {hint}。按该形状可以写：{keys}。",
        "{value} labels with this row do not fit the output's shape {hint}. By that shape write one of: {keys}.",
    ),
    row(
        "boxes-format",
        "{value} 个标签不符合输出张量的形状 {hint}：格式 1 的 boxes 只读由框、objectness 和每个标签的得分组成的行。请改用 format: 2，并写：{keys}。",
        "{value} labels do not fit the output's shape {hint}: boxes of format 1 reads rows of box, objectness and a score for each label alone. Write format: 2 and one of: {keys}.",
    ),
    row(
        "labels-count",
        "这里有 {value} 项，与输出张量的形状 {hint} 不符。请使二者一致。",
        "There are {value} items here, which does not fit the output's shape {hint}. Make them agree.",
    ),
    row(
        "placeholder-unknown",
        "告警文字中的占位符 {value} 不存在。可用 place、label、text、value:ID（ID 为 values 中的 id）；input: video 还可用 zone、missing。",
        "The alarm text's placeholder {value} does not exist. Use place, label, text or value:ID (an id under values); with input: video also zone and missing.",
    ),
    row("bounds-not-for-type", "类型 {value} 没有 min 和 max。请删去。", "Type {value} takes no min or max. Remove it."),
    row("choices-missing", "类型 choice 需要 choices。请列出可选的词。", "Type choice needs choices. List the words."),
    row(
        "choices-not-for-type",
        "类型 {value} 没有 choices。请删去，或把类型改为 choice。",
        "Type {value} takes no choices. Remove them or make the type choice.",
    ),
    row("min-over-max", "min {min} 大于 max {max}。请对调。", "min {min} is greater than max {max}. Swap them."),
    row(
        "default-type",
        "默认值与类型 {value} 不符。文字请加引号，数字请不加引号。",
        "The default does not fit type {value}. Quote texts, do not quote numbers.",
    ),
    row(
        "default-out-of-range",
        "默认值 {value} 不在允许的范围或选项之内。请改默认值。",
        "The default {value} is not within the bounds or choices. Change it.",
    ),
    row(
        "too-many-models",
        "模型至多 {max} 个。请合并模型，或分成几个应用。",
        "There are at most {max} models. Join models, or make several apps.",
    ),
    row("truth-texts", "没有步骤读出文字（post: text）。请删去 texts。", "No step reads text (post: text). Remove texts."),
    row(
        "truth-unknown",
        "流水线没有名为 {value} 的标签或数值。请用 pipeline.post 中声明的 id。",
        "The pipeline has no label or value named {value}. Use an id declared in pipeline.post.",
    ),
    row(
        "too-many-files",
        "包内有 {value} 个文件，最多 {max} 个。请删去不需要的文件。",
        "The package has {value} files, at most {max} are allowed. Remove what is not needed.",
    ),
    row(
        "file-missing",
        "缺少文件 {value}。请把它放进文件夹，或改正路径。",
        "The file {value} is missing. Put it into the folder or correct the path.",
    ),
    row("file-empty", "文件 {value} 是空的。请换成有内容的文件。", "The file {value} is empty. Replace it by one with content."),
    row(
        "file-too-large",
        "文件有 {value} 字节，最多 {max} 字节。请缩小。",
        "The file has {value} bytes, at most {max} are allowed. Make it smaller.",
    ),
    row(
        "file-and-folder",
        "文件 {value} 所在的文件夹与文件 {hint} 同名。请把其中一个改名。",
        "The folder of the file {value} has the name of the file {hint}. Rename one of them.",
    ),
    row(
        "file-twice",
        "文件 {value} 与 {hint} 同名或只差大小写。请改名或删去一个。",
        "The file {value} has the same name as {hint}, or differs in case only. Rename or remove one.",
    ),
    row(
        "yaml-missing",
        "文件夹里没有 app.yaml。请指定含有 app.yaml 的文件夹。",
        "The folder has no app.yaml. Name the folder that holds it.",
    ),
    row("yaml-encoding", "app.yaml 不是 UTF-8 文本。请以 UTF-8 保存。", "app.yaml is no UTF-8 text. Save it as UTF-8."),
    row(
        "file-hidden",
        "{value} 是隐藏文件或系统文件，应用包中不能有。请删去。",
        "{value} is a hidden file or one of the system, which no package holds. Leave it out.",
    ),
    row(
        "file-special",
        "{value} 是链接或特殊文件，包里只能有普通文件。请换成文件本身，或删去。",
        "{value} is a link or a special file, and a package holds plain files only. Put the file itself there, or remove it.",
    ),
    row("path-encoding", "文件名 {value} 不是 UTF-8。请改名。", "The file name {value} is not UTF-8. Rename the file."),
    row(
        "license-unknown",
        "{value} 不是现行的 SPDX 许可证标识。请用 spdx.org/licenses 上的标识；自有许可写 LicenseRef-名称，例如 LicenseRef-Proprietary。",
        "{value} is no current SPDX licence identifier. Use one of spdx.org/licenses, or LicenseRef-NAME for terms of your own, such as LicenseRef-Proprietary.",
    ),
    row(
        "license-unknown-hint",
        "{value} 不是 SPDX 许可证标识。是否想写 {hint}？",
        "{value} is no SPDX licence identifier. Did you mean {hint}?",
    ),
    row("license-deprecated", "SPDX 不再使用 {value} 的写法。请写 {hint}。", "SPDX no longer writes {value}. Write {hint}."),
    row(
        "license-expression",
        "{value} 处不是 SPDX 表达式（{detail}）。请用 AND、OR、WITH 和括号连接标识。",
        "Not an SPDX expression at {value} ({detail}). Combine identifiers with AND, OR, WITH and brackets.",
    ),
    row(
        "file-program",
        "{value} 是程序或脚本。应用包只含数据，请删去。",
        "{value} is a program or a script. An app is data; remove the file.",
    ),
    row(
        "file-pickle",
        "{value} 是会在打开时执行代码的模型格式（pickle、PyTorch、joblib、Keras）。请导出为 ONNX 后再放入。",
        "{value} is of a format that runs code when it is opened (pickle, PyTorch, joblib, Keras). Export the model as ONNX.",
    ),
    row(
        "file-archive",
        "{value} 是压缩包或归档文件。请解开后放入其中需要的文件。",
        "{value} is an archive. Put the files that are needed into the folder instead.",
    ),
    row(
        "too-many-faults",
        "还有更多问题没有列出（只列出 {max} 条）。请先改正这些。",
        "There are more faults than the {max} listed. Mend these first.",
    ),
    row(
        "not-understood",
        "无法读懂 app.yaml（{detail}）。请把此文件发给平台支持。",
        "app.yaml could not be understood: {detail}. Please send the file to the platform's support.",
    ),
];
