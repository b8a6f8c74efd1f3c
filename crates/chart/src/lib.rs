//! Renders Helm charts as Helm 4 does, byte for byte, without any I/O: a chart
//! comes as files or an archive in memory, and what templates ask of the world
//! (`lookup`, random values, the time) is asked of an [`Environment`].
//!
//! ```
//! use cozy_chart::{Chart, File, Limits, Printed, Release, Set, Standalone, ValueSource, Values};
//!
//! # fn main() -> Result<(), cozy_chart::Error> {
//! let files = [
//!     ("Chart.yaml", "apiVersion: v2\nname: greeting\nversion: 1.0.0\n"),
//!     ("values.yaml", "text: hello\ncount: 1\n"),
//!     (
//!         "templates/map.yaml",
//!         "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ .Release.Name }} }\ndata: {{ toYaml .Values | nindent 2 }}\n",
//!     ),
//! ];
//! let files = files.map(|(path, text)| File::new(path, text.as_bytes())).into();
//! // From an archive it is `Chart::from_archive(&bytes, &Limits::default())`.
//! let chart = Chart::from_files(files, &Limits::default())?;
//! // Value files and flags, merged as `helm template --values … --set …` merges them.
//! let values = Values::read(&[
//!     ValueSource::File("prod.yaml", b"text: good morning\n"),
//!     ValueSource::Set(Set::Typed("count=2")),
//! ])?;
//! let release = Release::new("demo", "default");
//! let rendered = cozy_chart::render(&chart, &values, &release, &mut Standalone)?;
//! assert_eq!(rendered.manifests[0].kind, "ConfigMap");
//! // The bytes of `helm template demo greeting`.
//! assert_eq!(
//!     rendered.print(&Printed::default())?,
//!     "---\n# Source: greeting/templates/map.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: demo }\n\
//!      data: \n  count: 2\n  text: good morning\n",
//! );
//! # Ok(())
//! # }
//! ```
//!
//! Charts are written by others: what one may cost is bounded by [`Limits`].
//! Values hold references that are not atomic, so charts and values stay on the
//! thread that made them.
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
#[cfg(test)]
mod tests;
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
pub use render::{Release, render, schema_weight};
pub use values::{Lookup, Set, ValueSource, Values};
