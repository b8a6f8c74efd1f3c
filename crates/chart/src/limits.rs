//! How much a chart may cost whoever renders it: charts are written by others.

/// Limits of loading and rendering.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Files in an archive, its subcharts' included.
    pub files: usize,
    /// Bytes of all files of an archive together, decompressed.
    pub archive_bytes: u64,
    /// Nesting of archives within archives.
    pub archive_depth: usize,
    /// Tokens of templates that are read, those given to `tpl` included.
    pub tokens: usize,
    /// Steps of templates: nodes that are executed.
    pub steps: u64,
    /// Bytes that templates may write, into strings included.
    pub output_bytes: usize,
    /// Bytes of the values that templates may make, all together.
    pub value_bytes: usize,
    /// Milliseconds that making keys and hashing passwords may take together.
    pub key_milliseconds: u64,
    /// Nesting of templates that call each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 20_000,
            archive_bytes: 100 << 20,
            archive_depth: 8,
            tokens: 1_500_000,
            steps: 20_000_000,
            output_bytes: 100 << 20,
            value_bytes: 192 << 20,
            key_milliseconds: 2_000,
            depth: 5_000,
        }
    }
}
