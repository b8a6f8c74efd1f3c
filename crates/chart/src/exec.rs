//! Executes templates (Go's `text/template/exec.go`): the named templates of a
//! chart, `include` and `tpl`, limits. One template at a time is `run`'s.

mod costs;
mod range;
mod run;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use self::costs::Costs;
pub(crate) use self::costs::{ELEMENT, ENTRY, LIST, TEXT};
use self::run::Run;
use crate::environment::{Environment, ValueKey};
use crate::error::Error;
use crate::limits::Limits;
use crate::template::ast::Template;
use crate::template::parse;
use crate::value::Value;

/// What stops an execution.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An error without a place yet.
    Failed(String),
    /// An error with its places.
    Placed(Box<Error>),
    /// `{{ break }}`
    Break,
    /// `{{ continue }}`
    Continue,
}

impl From<String> for Stop {
    fn from(problem: String) -> Self {
        Self::Failed(problem)
    }
}

impl From<&str> for Stop {
    fn from(problem: &str) -> Self {
        Self::Failed(problem.to_owned())
    }
}

/// Named templates.
type Templates = HashMap<Rc<str>, Rc<Template>>;

/// Executes the templates of one chart.
pub(crate) struct Engine<'e> {
    /// The chart's, and above them those of each `tpl` that is executed.
    layers: Vec<Templates>,
    /// What `tpl` read before.
    parsed: HashMap<Rc<str>, Vec<Rc<Template>>>,
    /// Tokens that templates may still have.
    tokens: usize,
    pub(crate) environment: &'e mut dyn Environment,
    limits: &'e Limits,
    costs: Costs,
    depth: usize,
    /// Memory that texts were rendered to, for the next ones.
    spare: Vec<Vec<u8>>,
    /// The file that is rendered.
    file: Rc<str>,
    /// Calls of functions that make random values.
    occurrences: HashMap<(&'static str, String), usize>,
}

/// Stack that must be left for a template, and how much more it gets.
const RED_ZONE: usize = 256 << 10;
const STACK: usize = 4 << 20;

/// Helm's own limit on templates that include themselves.
const MOST_INCLUDES: usize = 1_000;

impl<'e> Engine<'e> {
    /// An engine without templates.
    pub(crate) fn new(environment: &'e mut dyn Environment, limits: &'e Limits) -> Self {
        Self {
            layers: vec![Templates::new()],
            parsed: HashMap::new(),
            tokens: limits.tokens,
            environment,
            limits,
            costs: Costs::default(),
            depth: 0,
            spare: Vec::new(),
            file: Rc::from(""),
            occurrences: HashMap::new(),
        }
    }

    /// Reads a file of the chart.
    pub(crate) fn read(&mut self, path: &Rc<str>, source: &str) -> Result<(), Error> {
        let templates = parse::parse(path, path, source, &mut self.tokens)?;
        self.add(templates);
        Ok(())
    }

    /// Adds the templates of a file. A definition without content does not
    /// replace one that has some.
    fn add(&mut self, templates: Vec<Rc<Template>>) {
        for template in templates {
            if template.is_empty() && self.find(&template.name).is_some() {
                continue;
            }
            if let Some(layer) = self.layers.last_mut() {
                layer.insert(Rc::clone(&template.name), template);
            }
        }
    }

    fn find(&self, name: &str) -> Option<Rc<Template>> {
        self.layers.iter().rev().find_map(|layer| layer.get(name)).cloned()
    }

    /// Renders a file of the chart.
    pub(crate) fn render(&mut self, file: &Rc<str>, data: &Value) -> Result<Vec<u8>, Error> {
        self.file = Rc::clone(file);
        self.occurrences.clear();
        let Some(template) = self.find(file) else { return Ok(Vec::new()) };
        let mut out = Vec::with_capacity(template.source.len());
        match self.execute(&template, data, &mut out) {
            Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(out),
            Err(Stop::Placed(error)) => Err(*error),
            Err(Stop::Failed(problem)) => Err(Error::Limit(format!("{file}: {problem}"))),
        }
    }

    fn execute(&mut self, template: &Template, data: &Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            self.depth -= 1;
            return Err(Stop::Failed("exceeded the deepest nesting of templates".to_owned()));
        }
        // `$`, which every template has as its first variable.
        let variables = vec![("$", data.clone())];
        let mut run = Run { engine: self, template, variables };
        let result = stacker::maybe_grow(RED_ZONE, STACK, || run.list(&template.body, data, out));
        self.depth -= 1;
        match result {
            Err(Stop::Break | Stop::Continue) => Ok(()),
            other => other,
        }
    }

    /// Helm's `include`.
    pub(crate) fn include(&mut self, name: &str, data: &Value) -> Result<Value, Stop> {
        let Some(template) = self.find(name) else {
            return Err(Stop::Failed(format!("there is no template {name:?}")));
        };
        let count = template.including.get();
        if count > MOST_INCLUDES {
            return Err(Stop::Failed(format!("template {name:?} includes itself without end")));
        }
        template.including.set(count + 1);
        let made = self.value(&template, data, |out| out);
        template.including.set(count);
        made
    }

    /// Executes a template to a value.
    fn value(
        &mut self,
        template: &Template,
        data: &Value,
        finish: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Result<Value, Stop> {
        let mut out = self.spare.pop().unwrap_or_default();
        self.execute(template, data, &mut out)?;
        let mut out = finish(out);
        let value = Value::from_bytes(&out);
        out.clear();
        self.spare.push(out);
        Ok(value)
    }

    /// Helm's `tpl`: what it defines is known within it only.
    pub(crate) fn tpl(&mut self, text: &str, data: &Value) -> Result<Value, Stop> {
        if !text.contains("{{") {
            return Ok(Value::text(text.replace("<no value>", "")));
        }
        let templates = if let Some(templates) = self.parsed.get(text) {
            templates.clone()
        } else {
            // The text is kept, and its source with the templates.
            self.go_through(text.len(), 16)?;
            self.make(text.len().saturating_mul(2))?;
            let file = Rc::from("gotpl");
            let parsed = parse::parse(&file, &file, text, &mut self.tokens)
                .map_err(|error| Stop::Failed(format!("cannot parse the text given to tpl: {error}")))?;
            self.parsed.insert(Rc::from(text), parsed.clone());
            parsed
        };
        let Some((main, defined)) = templates.split_last() else { return Ok(Value::text("")) };
        let layered = !defined.is_empty();
        if layered {
            self.layers.push(Templates::new());
            self.add(defined.to_vec());
        }
        let made = self.value(main, data, without_no_value);
        if layered {
            self.layers.pop();
        }
        made
    }

    /// A value that is generated once for each place that asks for it. It is
    /// expected to take so many milliseconds.
    pub(crate) fn generated(
        &mut self,
        function: &'static str,
        arguments: String,
        milliseconds: u64,
        fresh: impl FnOnce(&mut dyn Environment) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, Stop> {
        let count = self.occurrences.entry((function, arguments.clone())).or_default();
        let key = ValueKey { template: self.file.to_string(), function, arguments, occurrence: *count };
        *count += 1;
        if let Some(kept) = self.environment.kept(&key) {
            return Ok(kept);
        }
        let value = self.work(milliseconds, fresh)??;
        self.environment.keep(key, &value);
        Ok(value)
    }
}

/// Go prints `<no value>` for nil, and Helm takes it out again.
pub(crate) fn without_no_value(out: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"<no value>";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    let mut kept = Vec::new();
    let mut rest = out.as_slice();
    while let Some(at) = FINDER.find(rest) {
        kept.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + MARK.len()..).unwrap_or_default();
    }
    if rest.len() == out.len() {
        return out;
    }
    kept.extend_from_slice(rest);
    kept
}
