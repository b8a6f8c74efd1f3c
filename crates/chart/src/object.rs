//! Types with fields or methods: capabilities, files, versions, times,
//! certificates.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Zoned;

use crate::funcs::semver::Version;
use crate::funcs::{dates, files};
use crate::value::Value;

/// A Kubernetes version as Helm parses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// As it was given, with a `v`: `v1.33.4-gke.1`.
    pub version: String,
    /// Without suffixes: `v1.33.4`.
    pub normalized: String,
    /// `1`
    pub major: String,
    /// `33`
    pub minor: String,
}

/// A value with fields or methods.
#[derive(Debug, PartialEq)]
pub(crate) enum Object {
    /// `*common.Capabilities`
    Capabilities { kube: Rc<Self>, versions: Rc<Self>, helm: Rc<Self> },
    /// `common.KubeVersion`
    Kube(KubeVersion),
    /// `common.VersionSet`
    Versions(Rc<Vec<String>>),
    /// `version.BuildInfo`: its fields in order.
    Helm(Vec<(&'static str, String)>),
    /// `engine.files`
    Files(BTreeMap<Rc<str>, Rc<[u8]>>),
    /// `*semver.Version`
    Version(Version),
    /// `time.Time`
    Time(Zoned),
    /// `time.Duration`, in nanoseconds.
    Duration(i64),
    /// `sprig.certificate`
    Certificate { cert: String, key: String },
}

/// What a field or method gave.
pub(crate) enum Member {
    /// Its value.
    Value(Value),
    /// There is no such field or method.
    None,
}

impl Object {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Capabilities { .. } | Self::Version(_) => "ptr",
            Self::Kube(_) | Self::Helm(_) | Self::Time(_) | Self::Certificate { .. } => "struct",
            Self::Versions(_) => "slice",
            Self::Files(_) => "map",
            Self::Duration(_) => "int64",
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Capabilities { .. } => "*common.Capabilities",
            Self::Kube(_) => "common.KubeVersion",
            Self::Versions(_) => "common.VersionSet",
            Self::Helm(_) => "version.BuildInfo",
            Self::Files(_) => "engine.files",
            Self::Version(_) => "*semver.Version",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Certificate { .. } => "sprig.certificate",
        }
    }

    /// How many elements it has.
    pub(crate) fn elements_held(&self) -> usize {
        match self {
            Self::Versions(versions) => versions.len(),
            Self::Files(files) => files.len(),
            _ => 0,
        }
    }

    /// About how many bytes it has when it is printed.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Versions(versions) => versions.iter().map(String::len).sum(),
            Self::Files(files) => files.values().map(|bytes| 4 * bytes.len()).sum(),
            Self::Certificate { cert, key } => cert.len() + key.len(),
            _ => 64,
        }
    }

    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Versions(versions) => !versions.is_empty(),
            Self::Files(files) => !files.is_empty(),
            Self::Duration(nanoseconds) => *nanoseconds != 0,
            _ => true,
        }
    }

    pub(crate) fn elements(&self) -> Option<Vec<Value>> {
        match self {
            Self::Versions(versions) => Some(versions.iter().map(Value::text).collect()),
            _ => None,
        }
    }

    /// A field's value, or what a method answers.
    pub(crate) fn member(&self, name: &str, arguments: &[Value]) -> Result<Member, String> {
        let text = |index: usize| -> Result<String, String> {
            match arguments.get(index) {
                Some(value) => value.string_text().map(std::borrow::Cow::into_owned).ok_or_else(|| {
                    format!("wrong type for value; expected string; got {}", value.type_name())
                }),
                None => Err(format!(
                    "wrong number of args for {name}: want {} got {}",
                    index + 1,
                    arguments.len()
                )),
            }
        };
        let fields = matches!(
            self,
            Self::Capabilities { .. } | Self::Kube(_) | Self::Helm(_) | Self::Certificate { .. }
        );
        if fields && !arguments.is_empty() {
            return Err(format!("{name} has arguments but cannot be invoked as function"));
        }
        let value = match (self, name) {
            (Self::Capabilities { kube, .. }, "KubeVersion") => Value::Object(Rc::clone(kube)),
            (Self::Capabilities { versions, .. }, "APIVersions") => Value::Object(Rc::clone(versions)),
            (Self::Capabilities { helm, .. }, "HelmVersion") => Value::Object(Rc::clone(helm)),
            (Self::Kube(version), "Version" | "GitVersion") => Value::text(&version.version),
            (Self::Kube(version), "Major") => Value::text(&version.major),
            (Self::Kube(version), "Minor") => Value::text(&version.minor),
            (Self::Kube(version), "String") => Value::text(&version.normalized),
            (Self::Versions(versions), "Has") => {
                let wanted = text(0)?;
                if arguments.len() > 1 {
                    return Err(format!("wrong number of args for Has: want 1 got {}", arguments.len()));
                }
                Value::Bool(versions.contains(&wanted))
            }
            (Self::Helm(fields), name) => match fields.iter().find(|(field, _)| *field == name) {
                Some((_, value)) => Value::text(value),
                None => return Ok(Member::None),
            },
            (Self::Files(all), name) => match files::method(all, name, arguments, &text)? {
                Some(value) => value,
                None => return Ok(Member::None),
            },
            (Self::Version(version), name) => match version.member(name, arguments)? {
                Some(value) => value,
                None => return Ok(Member::None),
            },
            (Self::Time(time), name) => match dates::time_member(time, name, arguments)? {
                Some(value) => value,
                None => return Ok(Member::None),
            },
            (Self::Duration(nanoseconds), name) => match dates::duration_member(*nanoseconds, name) {
                Some(value) => value,
                None => return Ok(Member::None),
            },
            (Self::Certificate { cert, .. }, "Cert") => Value::text(cert),
            (Self::Certificate { key, .. }, "Key") => Value::text(key),
            _ => return Ok(Member::None),
        };
        Ok(Member::Value(value))
    }

    /// What Go's JSON writes of a struct, in the order of its fields.
    pub(crate) fn struct_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        Some(match self {
            Self::Capabilities { kube, versions, helm } => vec![
                ("KubeVersion", Value::Object(Rc::clone(kube))),
                ("APIVersions", Value::Object(Rc::clone(versions))),
                ("HelmVersion", Value::Object(Rc::clone(helm))),
            ],
            Self::Kube(version) => vec![
                ("Version", Value::text(&version.version)),
                ("Major", Value::text(&version.major)),
                ("Minor", Value::text(&version.minor)),
            ],
            Self::Helm(all) => {
                let name = |field: &str| match field {
                    "Version" => "version",
                    "GitCommit" => "git_commit",
                    "GitTreeState" => "git_tree_state",
                    "GoVersion" => "go_version",
                    _ => "kube_client_version",
                };
                let set =
                    all.iter().filter(|(field, value)| !value.is_empty() || *field == "KubeClientVersion");
                set.map(|(field, value)| (name(field), Value::text(value))).collect()
            }
            Self::Certificate { cert, key } => vec![("Cert", Value::text(cert)), ("Key", Value::text(key))],
            Self::Versions(_) | Self::Files(_) | Self::Version(_) | Self::Time(_) | Self::Duration(_) => {
                return None;
            }
        })
    }

    /// The fields of a struct as Go's `fmt` finds them, private ones too.
    pub(crate) fn own_fields(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Kube(version) => vec![
                ("Version", Value::text(&version.version)),
                ("normalizedVersion", Value::text(&version.normalized)),
                ("Major", Value::text(&version.major)),
                ("Minor", Value::text(&version.minor)),
            ],
            Self::Helm(all) => all.iter().map(|(name, value)| (*name, Value::text(value))).collect(),
            Self::Version(version) => version.own_fields(),
            Self::Capabilities { .. } | Self::Certificate { .. } => self.struct_fields().unwrap_or_default(),
            Self::Versions(_) | Self::Files(_) | Self::Time(_) | Self::Duration(_) => Vec::new(),
        }
    }

    /// As Go's JSON writes it.
    pub(crate) fn as_json(&self) -> Value {
        match self {
            Self::Versions(versions) => Value::texts(versions.iter()),
            Self::Files(files) => Value::map(
                files.iter().map(|(path, bytes)| (Rc::clone(path), Value::Bytes(Rc::clone(bytes)))).collect(),
            ),
            Self::Version(version) => Value::text(version.to_string()),
            Self::Time(time) => Value::text(dates::to_rfc3339(time)),
            Self::Duration(nanoseconds) => Value::Int64(*nanoseconds),
            Self::Capabilities { .. } | Self::Kube(_) | Self::Helm(_) | Self::Certificate { .. } => {
                let fields = self.struct_fields().unwrap_or_default();
                Value::map(fields.into_iter().map(|(key, value)| (Rc::from(key), value)).collect())
            }
        }
    }

    /// Go's `%v`.
    pub(crate) fn print(&self) -> String {
        match self {
            Self::Capabilities { kube, versions, helm } => {
                format!("&{{{} {} {}}}", kube.fields(), versions.print(), helm.print())
            }
            Self::Kube(_) => self.fields(),
            Self::Versions(versions) => format!("[{}]", versions.join(" ")),
            Self::Helm(_) => format!("{{{}}}", self.fields()),
            Self::Files(files) => {
                let entries = files.iter().map(|(name, bytes)| {
                    let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
                    format!("{name}:[{}]", bytes.join(" "))
                });
                format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
            }
            Self::Version(version) => version.to_string(),
            Self::Time(time) => dates::print_time(time),
            Self::Duration(nanoseconds) => dates::print_duration(*nanoseconds),
            Self::Certificate { cert, key } => format!("{{{cert} {key}}}"),
        }
    }

    /// The fields of a struct, as `%v` prints them within another.
    fn fields(&self) -> String {
        match self {
            Self::Kube(version) => {
                format!("{{{} {} {} {}}}", version.version, version.normalized, version.major, version.minor)
            }
            Self::Helm(fields) => {
                fields.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
            }
            other => other.print(),
        }
    }
}
