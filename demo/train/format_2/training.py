"""What the programs with torch share: the training loop, the export, forecasts by quantiles."""
import torch
from torch import nn

from packs import *

torch.set_num_threads(1)
F = np.float32


def train(net, loss, count, epochs, batch, peak, decay=1e-3, clip=None, say=False):
    """AdamW with one cycle of rates up to `peak`; `loss(rows)` is that of a batch, `rows` the numbers of its samples of `count`."""
    opt = torch.optim.AdamW(net.parameters(), peak, weight_decay=decay)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, peak, total_steps=epochs * (count // batch))
    for epoch in range(epochs):
        order, total = torch.randperm(count), 0.0
        for i in range(0, count - batch + 1, batch):
            value = loss(order[i:i + batch])
            opt.zero_grad()
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            opt.step()
            sched.step()
            total += float(value.detach())
        if say:
            print(epoch, round(total / (count // batch), 4), flush=True)
    return net.eval()


def exported(net, example, inputs, outputs):
    """The ONNX model of a net, for one sample at a time."""
    data = io.BytesIO()
    torch.onnx.export(net, (example,), data, input_names=inputs, output_names=outputs, opset_version=17, dynamo=False)
    return pin(onnx.load_model_from_string(data.getvalue()))


# ---------------------------------------------------------------- forecasts
Q = (0.1, 0.5, 0.9)


class Quantiles(nn.Module):
    """Window `[n, steps, columns]` (scaled) → the quantiles Q of the first column ahead `[n, 3, ahead]`, in its own unit."""

    def __init__(self, columns, steps, ahead, mean, std, recent=12):
        super().__init__()
        self.ahead, self.recent = ahead, recent
        self.conv = nn.Sequential(nn.Conv1d(columns, 16, 5, 2, 2), nn.ReLU(), nn.Conv1d(16, 24, 5, 2, 2), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(24 * (steps // 4) + recent * columns, 96), nn.ReLU(), nn.Linear(96, 3 * ahead))
        self.register_buffer("scale", torch.tensor([float(mean), float(std)]))

    def forward(self, x):
        c = self.conv(x.transpose(1, 2)).flatten(1)
        h = self.head(torch.cat([c, x[:, -self.recent:].flatten(1)], 1)).reshape(-1, 3, self.ahead)
        mid = x[:, -1:, :1].transpose(1, 2) + h[:, 1:2]
        low, high = mid - nn.functional.softplus(h[:, 0:1]), mid + nn.functional.softplus(h[:, 2:3])
        return torch.cat([low, mid, high], 1) * self.scale[1] + self.scale[0]


def pinball(p, y):
    q = torch.tensor(Q)[None, :, None]
    d = y[:, None] - p
    return torch.maximum(q * d, (q - 1) * d).mean()


def with_gaps(rng, rows, most=3, longest=5):
    """Some short gaps in each column, none in the first row."""
    rows = rows.copy()
    for c in range(rows.shape[1]):
        for _ in range(rng.integers(0, most)):
            a = int(rng.integers(1, len(rows) - 1))
            rows[a:a + int(rng.integers(1, longest)), c] = np.nan
    return rows


def filled(rows):
    """Gaps become the last number above them, as `missing: last` says."""
    rows = rows.copy()
    for i in range(1, len(rows)):
        rows[i] = np.where(np.isnan(rows[i]), rows[i - 1], rows[i])
    return rows


def table(columns, rows, times):
    """CSV with a column `time` and empty cells for gaps."""
    cell = lambda v: "" if np.isnan(v) else f"{v:.3f}".rstrip("0").rstrip(".")
    return ("time," + ",".join(columns) + "\n" + "".join(t + "," + ",".join(map(cell, r)) + "\n" for t, r in zip(times, rows))).encode()


def fan(canvas, box, hours, past, future, quantiles, ylim, limits=()):
    """A forecast as a fan: `past` with gaps and `future` as it came, `quantiles` [3, ahead]; `hours` of all of them, 0 is now."""
    n = len(past)
    px = lambda t: box[0] + (t - hours[0]) / (hours[-1] - hours[0]) * (box[2] - box[0])
    py = lambda v: box[3] - (np.clip(v, *ylim) - ylim[0]) / (ylim[1] - ylim[0]) * (box[3] - box[1])
    up, down = ([(px(t), py(v)) for t, v in zip(hours[n:], q)] for q in (quantiles[2], quantiles[0]))
    canvas.draw.polygon(up + down[::-1], fill="#4a3a22")
    for t, v, color in ((hours[n:], future, MUTED), (hours[:n], past, "#59b3d6"), (hours[n:], quantiles[1], AMBER)):
        for i in range(len(t) - 1):
            if not np.isnan(v[i:i + 2]).any():
                canvas.draw.line([px(t[i]), py(v[i]), px(t[i + 1]), py(v[i + 1])], fill=color, width=3)
    for value, color in limits:
        canvas.draw.line([box[0], py(value), box[2], py(value)], fill=color, width=2)
    canvas.ticks(box, (hours[0], hours[-1]), ylim, 5, 4)
