//! Executes templates (Go's `text/template/exec.go`): the named templates of a
//! chart, `include` and `tpl`, limits. One template at a time is `run`'s.

mod run;

use std::collections::HashMap;
use std::rc::Rc;

use self::run::Run;
use crate::environment::{Environment, ValueKey};
use crate::error::Error;
use crate::limits::Limits;
use crate::template::ast::Template;
use crate::template::parse;
use crate::value::{Endless, Extent, Value};

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
    /// How often each template is being included.
    including: HashMap<Rc<str>, usize>,
    pub(crate) environment: &'e mut dyn Environment,
    limits: &'e Limits,
    steps: u64,
    written: usize,
    made: usize,
    depth: usize,
    /// The file that is rendered.
    file: Rc<str>,
    /// Calls of functions that make random values.
    occurrences: HashMap<(&'static str, String), usize>,
}

/// Stack that must be left for a template, and how much more it gets.
const RED_ZONE: usize = 256 << 10;
const STACK: usize = 4 << 20;

/// Nodes of values that are written, printed or copied for one step of templates.
const NODES_OF_STEP: u64 = 4;

/// Helm's own limit on templates that include themselves.
const MOST_INCLUDES: usize = 1_000;

impl<'e> Engine<'e> {
    /// An engine without templates.
    pub(crate) fn new(environment: &'e mut dyn Environment, limits: &'e Limits) -> Self {
        Self {
            layers: vec![Templates::new()],
            parsed: HashMap::new(),
            tokens: limits.tokens,
            including: HashMap::new(),
            environment,
            limits,
            steps: 0,
            written: 0,
            made: 0,
            depth: 0,
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
        let Some(layer) = self.layers.last_mut() else { return };
        for template in templates {
            if template.is_empty() && layer.contains_key(&template.name) {
                continue;
            }
            layer.insert(Rc::clone(&template.name), template);
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
        let mut out = Vec::new();
        match self.execute(&template, data, &mut out) {
            Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(out),
            Err(Stop::Placed(error)) => Err(*error),
            Err(Stop::Failed(problem)) => Err(Error::Limit(format!("{file}: {problem}"))),
        }
    }

    fn execute(&mut self, template: &Rc<Template>, data: &Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            self.depth -= 1;
            return Err(Stop::Failed("exceeded the deepest nesting of templates".to_owned()));
        }
        let mut run = Run { engine: self, template, variables: vec![(Rc::from("$"), data.clone())] };
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
        let count = self.including.entry(Rc::clone(&template.name)).or_default();
        if *count > MOST_INCLUDES {
            return Err(Stop::Failed(format!("template {name:?} includes itself without end")));
        }
        *count += 1;
        let mut out = Vec::new();
        let result = self.execute(&template, data, &mut out);
        if let Some(count) = self.including.get_mut(&template.name) {
            *count -= 1;
        }
        result.map(|()| Value::from_bytes(out))
    }

    /// Helm's `tpl`: what it defines is known within it only.
    pub(crate) fn tpl(&mut self, text: &str, data: &Value) -> Result<Value, Stop> {
        if !text.contains("{{") {
            return Ok(Value::text(text.replace("<no value>", "")));
        }
        let templates = if let Some(templates) = self.parsed.get(text) {
            templates.clone()
        } else {
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
        let mut out = Vec::new();
        let result = self.execute(main, data, &mut out);
        if layered {
            self.layers.pop();
        }
        result.map(|()| without_no_value(out)).map(Value::from_bytes)
    }

    /// A value that is generated once for each place that asks for it.
    pub(crate) fn generated(
        &mut self,
        function: &'static str,
        arguments: String,
        fresh: impl FnOnce(&mut dyn Environment) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, String> {
        let count = self.occurrences.entry((function, arguments.clone())).or_default();
        let key = ValueKey { template: self.file.to_string(), function, arguments, occurrence: *count };
        *count += 1;
        if let Some(kept) = self.environment.kept(&key) {
            return Ok(kept);
        }
        let value = fresh(self.environment)?;
        self.environment.keep(key, &value);
        Ok(value)
    }

    /// Counts bytes that are written, or made by a function.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.limits.output_bytes {
            return Err(self.too_long());
        }
        Ok(())
    }

    /// Counts values before they are made: elements of lists, entries of maps.
    pub(crate) fn spend_values(&mut self, count: usize) -> Result<(), Stop> {
        // An element, and the text that it may hold.
        self.made = self.made.saturating_add(count.saturating_mul(2 * size_of::<Value>()));
        if self.made > self.limits.value_bytes {
            return Err(Stop::Failed(format!(
                "the templates make lists and maps of more than {} bytes",
                self.limits.value_bytes
            )));
        }
        Ok(())
    }

    /// Counts what a function made that did not count it itself: by how much
    /// its text is longer than its arguments, and all of a list or map that is new.
    pub(crate) fn spend_made(
        &mut self,
        made: &Value,
        arguments: &[Value],
        before: usize,
    ) -> Result<(), Stop> {
        if self.written != before {
            return Ok(());
        }
        match made {
            Value::Text(_) | Value::Raw(_) => {
                let length = |value: &Value| value.string_bytes().map_or(0, <[u8]>::len);
                let longest = arguments.iter().map(length).max().unwrap_or(0);
                self.spend(length(made).saturating_sub(longest))
            }
            Value::List(list) if Rc::strong_count(list) == 1 => self.spend_values(list.items.len() / 2),
            Value::Map(map) if Rc::strong_count(map) == 1 => self.spend_values(map.len()),
            _ => Ok(()),
        }
    }

    /// Refuses texts that are so long that what functions make of them would be
    /// beyond the limit.
    pub(crate) fn can_take(&self, arguments: &[Value]) -> Result<(), Stop> {
        let length: usize = arguments.iter().filter_map(Value::string_bytes).map(<[u8]>::len).sum();
        if length.saturating_mul(4) > self.limits.output_bytes {
            return Err(self.too_long());
        }
        Ok(())
    }

    fn too_long(&self) -> Stop {
        Stop::Failed(format!("the templates write more than {} bytes", self.limits.output_bytes))
    }

    /// How many bytes were counted so far.
    pub(crate) fn spent(&self) -> usize {
        self.written + self.made
    }

    /// Counts a step.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        self.many_steps(1)
    }

    /// Counts what takes as long as several steps.
    pub(crate) fn many_steps(&mut self, count: u64) -> Result<(), Stop> {
        self.steps += count;
        if self.steps > self.limits.steps { self.too_many_steps() } else { Ok(()) }
    }

    fn too_many_steps(&self) -> Result<(), Stop> {
        Err(Stop::Failed(format!("the templates take more than {} steps", self.limits.steps)))
    }

    /// Looks how large and deep a value is, before something goes through it.
    /// A value that contains itself is `None`.
    pub(crate) fn finite(&mut self, value: &Value) -> Result<Option<Extent>, Stop> {
        if !matches!(value, Value::Map(_) | Value::List(_)) {
            return Ok(Some(Extent::default()));
        }
        let left = self.limits.steps.saturating_sub(self.steps);
        match Extent::of(value, left.saturating_mul(NODES_OF_STEP)) {
            Ok(extent) => {
                self.steps += extent.nodes / NODES_OF_STEP;
                Ok(Some(extent))
            }
            Err(Endless::Cycle) => Ok(None),
            Err(Endless::TooLarge) => self.too_many_steps().map(|()| None),
            Err(problem @ Endless::TooDeep) => Err(Stop::from(problem.words())),
        }
    }

    /// As [`Self::finite`], but refuses a value that contains itself.
    pub(crate) fn extent(&mut self, value: &Value) -> Result<Extent, Stop> {
        self.finite(value)?.ok_or_else(|| Stop::from(Endless::Cycle.words()))
    }
}

/// Go prints `<no value>` for nil, and Helm takes it out again.
pub(crate) fn without_no_value(out: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"<no value>";
    let mut kept = Vec::new();
    let mut rest = out.as_slice();
    let finder = memchr::memmem::Finder::new(MARK);
    while let Some(at) = finder.find(rest) {
        kept.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + MARK.len()..).unwrap_or_default();
    }
    if rest.len() == out.len() {
        return out;
    }
    kept.extend_from_slice(rest);
    kept
}
