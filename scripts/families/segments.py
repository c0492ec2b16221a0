"""A class for each cell of a picture: a graph made here, and LRASPP of torchvision, untrained, with its own transforms.

Rewritten for the graph: torchvision's preset for segmentation (stretched, antialiased, ImageNet's mean and std) or a letterbox, softmax, and the
largest class of each cell of the output's own grid. An object is a label with all its cells; its share of the picture is a value.
"""
import cv2, numpy as np
from onnx import TensorProto as T
from PIL import Image

from graph import Graph
from masks import centres, ordered, rle
from publishers import IMAGENET, nchw, rgb, run, work

WIDTH, HEIGHT = 256, 192


def graph(coarse=False, argmax=False):
    """Three classes by the colour of a blurred picture: of the input's size, or of an eighth."""
    g = Graph("input", [1, 3, HEIGHT, WIDTH], probe=False, seed=3)
    x = g.add("AveragePool", ["input"], kernel_shape=[8, 8], strides=[8, 8])
    table = np.float32([[1.4, -0.9, 0.3], [-1.2, 0.2, 1.1], [0.1, 1.3, -1.5]]).reshape(3, 3, 1, 1)
    x = g.add("Conv", [x, g.const(table), g.const(np.float32([0.2, 0.0, 0.1]))], "coarse")
    rows, columns = (HEIGHT // 8, WIDTH // 8) if coarse else (HEIGHT, WIDTH)
    if not coarse:
        x = g.add("Resize", [x, "", g.const(np.float32([1, 1, 8, 8]))], mode="linear", coordinate_transformation_mode="half_pixel")
    if argmax:
        g.add("ArgMax", [x], "out", axis=1, keepdims=0)
        g.output("out", T.INT64, [1, rows, columns])
    else:
        g.add("Identity", [x], "out")
        g.output("out", T.FLOAT, [1, 3, rows, columns])
    return g.save(f"segments{'-coarse' * coarse}{'-argmax' * argmax}")


def stretched(file):
    """`Resize` of torchvision on a picture of Pillow."""
    x = np.asarray(Image.open(file).convert("RGB").resize((WIDTH, HEIGHT), Image.BILINEAR))
    return nchw(x, 255, *IMAGENET), (0, 0, WIDTH, HEIGHT)


def letterboxed(file):
    picture = rgb(file)
    h, w = picture.shape[:2]
    r = min(HEIGHT / h, WIDTH / w)
    nw, nh = round(w * r), round(h * r)
    left, top = round((WIDTH - nw) / 2 - 0.1), round((HEIGHT - nh) / 2 - 0.1)
    x = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    x[top : top + nh, left : left + nw] = cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return nchw(x, 255, *IMAGENET), (left, top, nw, nh)


def scores(y):
    """Best score and class of each cell: of classes, or of their numbers."""
    if y.ndim == 3:
        return np.ones(y.shape[1:]), y[0]
    p = np.exp(y - y.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True))[0]
    return p.max(0), p.argmax(0)


def told(best, at, place, size, labels, score=0.0, least=0.0):
    (left, top, nw, nh), (width, height), (rows, columns) = place, size, best.shape
    sx, sy = WIDTH / columns, HEIGHT / rows
    # Cells whose centre lies in the picture, and where each cell's sides are in the source.
    cx, cy = (np.arange(columns) + 0.5) * sx, (np.arange(rows) + 0.5) * sy
    inside = ((cy > top) & (cy < top + nh))[:, None] & ((cx > left) & (cx < left + nw))[None]
    to_x, to_y = lambda v: (v - left) * width / nw, lambda v: (v - top) * height / nh
    found, values = [], []
    for k, label in enumerate(labels, 1):
        own = (at == k) & inside & (best >= score)
        share = own.sum() / inside.sum()
        values.append({"id": label, "value": float(share), "unit": ""})
        if not own.any() or share < least:
            continue
        ys, xs = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        x1, x2 = np.clip([to_x(xs[0] * sx), to_x((xs[-1] + 1) * sx)], 0, width)
        y1, y2 = np.clip([to_y(ys[0] * sy), to_y((ys[-1] + 1) * sy)], 0, height)
        box = [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]
        mx, my = centres(box)
        i = np.clip(np.floor((my * nh / height + top) / sy).astype(int), 0, rows - 1)
        j = np.clip(np.floor((mx * nw / width + left) / sx).astype(int), 0, columns - 1)
        found.append({"label": label, "score": float(best[own].mean()), "box": box, "mask": rle(own[np.ix_(i, j)])})
    return {**ordered(found), "values": values}


def segments(fitted, coarse=False, **more):
    model = graph(coarse)

    def reference(file, labels):
        x, place = fitted(file)
        return told(*scores(run(model, input=x)[0]), place, Image.open(file).size, labels, **more)

    return model, reference


NUMBERS = """
  - model:
      name: segments
      file: model.onnx
      inputs: [{name: input, datatype: FP32, shape: [1, 3, 192, 256]}]
      outputs: [{name: out, datatype: INT64, shape: [1, 192, 256]}]
      pre: {image: {width: 256, height: 192, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
      post: [{segments: {output: out, labels: [{id: coal, text: {en: Coal}}, {id: rock, text: {en: Rock}}], background: first}}]
"""


def numbers():
    model = graph(argmax=True)

    def reference(file, labels):
        x, place = stretched(file)
        return told(*scores(run(model, input=x)[0]), place, Image.open(file).size, ["coal", "rock"])

    return NUMBERS, {"model.onnx": model}, reference


def scenes():
    """The photographs smaller, and a small one."""
    from publishers import pictures

    out = []
    for file, size in zip(pictures(), [(360, 480), (640, 360), (151, 97)]):
        out.append(work / f"scene-{file.stem}.png")
        cv2.imwrite(str(out[-1]), cv2.resize(cv2.imread(str(file)), size, interpolation=cv2.INTER_AREA))
    return out


def lraspp():
    """Needs torch. Statistics and the last layer are set by what the network says of the pictures, so that each class has a share."""
    import torch, torchvision
    from torchvision.transforms import functional

    def tensor(file):
        x = functional.resize(Image.open(file).convert("RGB"), [HEIGHT, WIDTH])
        return functional.normalize(functional.to_tensor(x), IMAGENET[0].tolist(), IMAGENET[1].tolist())[None]

    torch.manual_seed(1)
    net = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    batch = torch.cat([tensor(file) for file in scenes()])
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = None
    with torch.no_grad():
        net.train(), net(batch), net.eval()
        lasts = [m for m in net.classifier.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels == 3]
        deviation = net(batch)["out"].std((0, 2, 3))
        for last in lasts:
            last.weight.mul_((1.2 / deviation)[:, None, None, None])
            if last.bias is not None:
                last.bias.mul_(1.2 / deviation)
        lasts[-1].bias.sub_(net(batch)["out"].mean((0, 2, 3)))

    class Out(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x)["out"]

    file = work / "made" / "lraspp.onnx"
    file.parent.mkdir(exist_ok=True)
    torch.onnx.export(Out().eval(), (batch[:1],), str(file), input_names=["input"], output_names=["out"], opset_version=17, dynamo=False)

    def reference(sample, labels):
        with torch.no_grad():
            p = net(tensor(sample))["out"].softmax(1)[0].numpy()
        return told(p.max(0), p.argmax(0), (0, 0, WIDTH, HEIGHT), Image.open(sample).size, labels)

    return file, reference
