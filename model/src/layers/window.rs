//! Windows that slide over an image: the geometry shared by convolution and pooling.

/// Windows over the places of a `[channels, height, width]` image, padded with zeros at its edges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) rows: Axis,
    pub(crate) columns: Axis,
}

/// Windows along one axis of an image. Window i covers `size` places from `i * stride - before` on. Places in
/// `0..length` are real, the others padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// Places of the image.
    pub(crate) length: usize,
    /// Places a window covers.
    pub(crate) size: usize,
    pub(crate) stride: usize,
    /// Padded places before the image.
    pub(crate) before: usize,
    /// Number of windows.
    pub(crate) count: usize,
}

impl Axis {
    /// The place of the image at position `k` of window `i`, unless that is padding.
    pub(crate) fn place(&self, i: usize, k: usize) -> Option<usize> {
        (i * self.stride + k).checked_sub(self.before).filter(|&place| place < self.length)
    }

    /// The first place of the image in window `i`, and how many of its places there are.
    pub(crate) fn inside(&self, i: usize) -> (usize, usize) {
        let begin = i * self.stride;
        let first = begin.saturating_sub(self.before);
        let end = (begin + self.size).saturating_sub(self.before).min(self.length);
        (first, end - first)
    }

    /// The windows whose position `k` is not padding. They are consecutive.
    pub(crate) fn windows_inside(&self, k: usize) -> std::ops::Range<usize> {
        let first = self.before.saturating_sub(k).div_ceil(self.stride);
        let end = (self.length + self.before).saturating_sub(k).div_ceil(self.stride).min(self.count);
        first.min(end)..end
    }
}

impl Windows {
    /// Number of windows.
    pub(crate) fn count(&self) -> usize {
        self.rows.count * self.columns.count
    }

    /// Number of places of one channel in a window.
    pub(crate) fn size(&self) -> usize {
        self.rows.size * self.columns.size
    }

    /// Number of places in one channel of the image.
    pub(crate) fn places(&self) -> usize {
        self.rows.length * self.columns.length
    }
}
