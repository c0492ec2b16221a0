//! How source pixels became tensor pixels, and the way back for boxes.

/// `tensor = source * scale + offset`, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Width and height of the tensor.
    pub tensor: [f32; 2],
    /// Width and height of the source picture, upright.
    pub source: [f32; 2],
    /// Width and height that the whole source picture has in the tensor, without a border; of `crop` it may be larger than the tensor.
    pub fitted: [f32; 2],
    /// Where the picture's left top corner lies in the tensor; negative where it was cut off.
    pub offset: [f32; 2],
}

impl Geometry {
    /// Factors by which width and height of the source became those in the tensor.
    pub fn scale(&self) -> [f32; 2] {
        let ([w, h], [source_w, source_h]) = (self.fitted, self.source);
        [w / source_w, h / source_h]
    }

    /// A box given by its corners in tensor pixels as `[x, y, w, h]` in source pixels, cut to the picture; `None` when
    /// nothing is left or a number is not finite.
    pub fn to_source(&self, left: f32, top: f32, right: f32, bottom: f32) -> Option<[f32; 4]> {
        let ([sx, sy], [dx, dy]) = (self.scale(), self.offset);
        self.within((left - dx) / sx, (top - dy) / sy, (right - dx) / sx, (bottom - dy) / sy)
    }

    /// A point of the tensor in source pixels; it may lie outside of the picture.
    pub fn point_to_source(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let ([sx, sy], [dx, dy]) = (self.scale(), self.offset);
        [(x - dx) / sx, (y - dy) / sy]
    }

    /// A point of the source in tensor pixels.
    pub fn point_to_tensor(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let ([sx, sy], [dx, dy]) = (self.scale(), self.offset);
        [x * sx + dx, y * sy + dy]
    }

    /// A box given by its corners in source pixels as `[x, y, w, h]`, cut to the picture; `None` when nothing is left or a number is not
    /// finite.
    pub fn within(&self, left: f32, top: f32, right: f32, bottom: f32) -> Option<[f32; 4]> {
        let [width, height] = self.source;
        let (x, across) = (left.clamp(0.0, width), right.clamp(0.0, width));
        let (y, down) = (top.clamp(0.0, height), bottom.clamp(0.0, height));
        let (w, h) = (across - x, down - y);
        (w > 0.0 && h > 0.0).then_some([x, y, w, h])
    }
}
