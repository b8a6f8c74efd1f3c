//! What one template may cost: instructions and bytes.

/// How many instructions one template may take; 64 bytes of what it makes count as one, so that it makes 64 MB at most.
/// Loops over loops end, and no template of the catalogue takes a hundredth of it.
pub(super) const FUEL: u64 = 1_000_000;

/// How many bytes one template may render.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;

/// Takes what a template renders, up to [`LARGEST`].
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    full: bool,
}

impl Output {
    /// Whether there was more than fits.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The text.
    pub(super) fn text(self) -> Result<String, String> {
        String::from_utf8(self.bytes).map_err(|_| "it does not render UTF-8".to_owned())
    }
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.full |= self.bytes.len().saturating_add(bytes.len()) > LARGEST;
        if self.full {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
