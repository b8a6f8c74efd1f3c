//! Reads what secret settings refer to: environment variables, and files
//! beside `cozy.yaml`. Only commands that write to a cluster, or compare with
//! one, need them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::flow::Loaded;
use crate::error::Problem;
use crate::model::component::Resolved;
use crate::model::finding::Finding;
use crate::model::resolve::CloudFile;
use crate::model::secret::{Secret, SecretSetting, SecretSource};
use crate::settings::{self, Settings};

/// The largest secret, in bytes: what one Secret of Kubernetes can hold.
const LARGEST: u64 = 1024 * 1024;

/// Reads the secrets of all components; every one that is missing is named.
pub(super) fn read(loaded: &mut Loaded, settings: &Settings) -> anyhow::Result<()> {
    let base = settings.base();
    let mut missing = Vec::new();
    for Resolved { component, secrets, .. } in &mut loaded.components {
        for secret in secrets {
            match value(&secret.source, base) {
                Ok(value) => secret.value = Some(Secret::new(value)),
                Err(problem) => {
                    missing.push(finding(&loaded.file, component.name.as_str(), secret, &problem));
                }
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Problem::Findings(missing).into()) }
}

fn finding(file: &CloudFile, component: &str, secret: &SecretSetting, problem: &str) -> Finding {
    let hint = match &secret.source {
        SecretSource::Env(name) => format!("export {name}, or name another variable or file in cozy.yaml"),
        SecretSource::File(_) => "paths in cozy.yaml are relative to it".to_owned(),
    };
    let below = secret.pointer.split('/').skip(1);
    let path: Vec<&str> = ["components", component, "settings"].into_iter().chain(below).collect();
    let message = format!("component `{component}`, secret setting `{}`: {problem}", secret.name());
    file.mistake(1230, &path, message).hinted(hint)
}

fn value(source: &SecretSource, base: &Path) -> Result<String, String> {
    match source {
        SecretSource::Env(name) => settings::variable(name)
            .ok_or_else(|| format!("the environment variable `{name}` is not set, or empty")),
        SecretSource::File(path) => file(&base.join(path)),
    }
}

fn file(path: &PathBuf) -> Result<String, String> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("`{}` has more than 1 MiB", path.display()));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8", path.display()))?;
    // Editors end a file with a newline that nobody means.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err(format!("`{}` is empty", path.display())) } else { Ok(text.to_owned()) }
}
