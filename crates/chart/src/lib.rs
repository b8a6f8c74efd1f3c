//! Renders Helm charts as Helm 4 does, byte for byte, without any I/O: a chart
//! comes as files or an archive in memory, and what templates ask of the world
//! (`lookup`, random values, the time) is asked of an [`Environment`].
//!
//! ```text
//! capabilities   what .Capabilities says          values      value files, --set, coalescing
//! chart          a chart and its subcharts        render      from chart and values to manifests
//!   archive        .tgz, hostile until checked      schema      values.schema.json
//!   ignore         .helmignore                      manifest    documents, hooks, order, output
//!   metadata       Chart.yaml                     template    Go's text/template: reading
//!   dependencies   conditions, tags, aliases      exec        Go's text/template: executing
//! environment    the world outside               funcs       Go's, sprig's and Helm's functions
//! limits         what a chart may cost           value, object, format, number   Go's values
//!                                                 yaml, json  as Helm reads and writes them
//! ```

mod capabilities;
mod chart;
mod environment;
mod error;
mod exec;
mod format;
mod funcs;
mod json;
mod limits;
mod manifest;
mod number;
mod object;
mod render;
mod template;
mod value;
mod values;
mod yaml;

pub use capabilities::{Capabilities, HELM_VERSION};
pub use chart::{Chart, File, IgnoreRules};
pub use environment::{Environment, Standalone, ValueKey};
pub use error::{Error, Frame};
pub use funcs::{is_version, newest, validity};
pub use limits::Limits;
pub use manifest::{Crd, Event, Hook, Manifest, Printed, Rendered};
pub use object::KubeVersion;
pub use render::{Release, render};
pub use values::{Lookup, Set, ValueSource, Values};
