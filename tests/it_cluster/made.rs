//! Clouds of components that a test writes itself, on the real control plane,
//! and what `cozy` says of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::support::control_plane::ControlPlane;

/// A cloud whose components a test made.
pub(crate) struct Made {
    pub(crate) plane: Arc<ControlPlane>,
    folder: tempfile::TempDir,
    components: Vec<String>,
    /// What `cozy.yaml` says of components, as YAML.
    settings: BTreeMap<String, String>,
    /// Instead of the control plane's own kubeconfig.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cloud's name.
    pub(crate) name: &'static str,
}

impl Made {
    /// On a control plane that is its own: what a run finds of others, it prunes.
    pub(crate) fn on(plane: Arc<ControlPlane>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (components, settings) = (Vec::new(), BTreeMap::new());
        Self { plane, folder, components, settings, kubeconfig: None, name: "made" }
    }

    /// A place for a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a component: its objects, and further lines of its `component.yaml`.
    pub(crate) fn component(&mut self, name: &str, more: &str, objects: &str) -> &mut Self {
        let folder = self.folder.path().join("catalogue/templates").join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let text = format!(
            "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: Made by a test\ncategory: example\n\
             version: 1.0.0\nnamespace: {{ name: {name}, podSecurity: privileged }}\nresources: [objects.yaml]\n{more}\n"
        );
        fs_err::write(folder.join("component.yaml"), text).unwrap();
        fs_err::write(folder.join("objects.yaml"), objects).unwrap();
        if !self.components.iter().any(|known| known == name) {
            self.components.push(name.to_owned());
        }
        self
    }

    /// Takes a component out.
    pub(crate) fn without(&mut self, name: &str) -> &mut Self {
        self.components.retain(|known| known != name);
        self
    }

    /// Gives a component's chart values, a YAML map in one line.
    pub(crate) fn values(&mut self, name: &str, values: &str) -> &mut Self {
        self.config(name, &format!("{{ values: {values} }}"))
    }

    /// Gives a component what `cozy.yaml` says of it, a YAML map in one line.
    pub(crate) fn config(&mut self, name: &str, config: &str) -> &mut Self {
        self.settings.insert(name.to_owned(), config.to_owned());
        self
    }

    fn write(&self) {
        let bundles = self.folder.path().join("catalogue/bundles");
        fs_err::create_dir_all(&bundles).unwrap();
        let components: Vec<String> =
            self.components.iter().map(|name| format!("  {name}: {{}}\n")).collect();
        let components = components.concat();
        let bundle = format!(
            "apiVersion: cozy/v1\nkind: Bundle\nname: made\nversion: 1.0.0\nsummary: Made by a test\ncomponents:\n{components}"
        );
        fs_err::write(bundles.join("made.yaml"), bundle).unwrap();
        let settings: Vec<String> =
            self.settings.iter().map(|(name, settings)| format!("{name}: {settings}")).collect();
        let cloud = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: {}\nbundle: made\nkubernetes: {{ provider: existing }}\ncomponents: {{ {} }}\n",
            self.name,
            settings.join(", ")
        );
        fs_err::write(self.folder.path().join("cozy.yaml"), cloud).unwrap();
    }

    /// A command of cozy on this cloud.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.write();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command
            .args(arguments)
            .arg("--file")
            .arg(self.folder.path().join("cozy.yaml"))
            .arg("--catalogue")
            .arg(self.folder.path().join("catalogue"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig.clone().unwrap_or_else(|| self.plane.kubeconfig()))
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"));
        command
    }

    /// Adds a component that is a chart of these files, at a version.
    pub(crate) fn chart(&mut self, name: &str, version: &str, files: &[(&str, &str)]) -> &mut Self {
        self.chart_with(name, "", version, files)
    }

    /// Adds a component that is a chart of these files, at a version, and further lines of its `component.yaml`.
    pub(crate) fn chart_with(
        &mut self,
        name: &str,
        more: &str,
        version: &str,
        files: &[(&str, &str)],
    ) -> &mut Self {
        let folder = self.folder.path().join("charts");
        for (path, text) in files {
            let path = folder.join(version).join(name).join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
        fs_err::write(folder.join(version).join(name).join("Chart.yaml"), metadata).unwrap();
        let packed = Command::new("tar")
            .arg("-czf")
            .arg(folder.join(format!("{name}-{version}.tgz")))
            .arg("-C")
            .arg(folder.join(version))
            .arg(name)
            .status()
            .unwrap();
        assert!(packed.success());
        let source = format!(
            "source: {{ chart: {{ repository: \"file://{}\", name: {name}, version: {version} }} }}\n{more}",
            folder.display()
        );
        self.component(name, &source, "")
    }

    /// Runs, and must end with an exit code; gives stdout and stderr together.
    pub(crate) fn expect(&self, arguments: &[&str], code: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = both(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{text}");
        text
    }
}

/// What a process wrote, stdout first.
pub(crate) fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
