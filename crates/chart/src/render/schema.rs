//! `values.schema.json` of a chart and its subcharts (Helm's `jsonschema.go`).

mod dialect;
mod elsewhere;
mod weight;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use weight::schema_weight;

use jsonschema::{PatternOptions, Uri};

use self::elsewhere::{Bundled, Known};
use crate::chart::Chart;
use crate::error::Error;
use crate::value::Value;

impl Chart {
    /// The URLs of schemas that this chart's schemas, and those of the charts within it, refer to, as far as `known`
    /// does not answer them with the documents that are there. What is answered may refer to more: ask again.
    pub fn missing_schemas(&self, known: &mut dyn FnMut(&str) -> Option<Rc<[u8]>>) -> BTreeSet<String> {
        let mut missing: BTreeSet<String> =
            self.dependencies.iter().flat_map(|subchart| subchart.missing_schemas(known)).collect();
        let schema = self.schema.as_ref().and_then(|schema| serde_json::from_slice(schema).ok());
        // What is wrong with a schema is said when values are checked.
        if let Some(Ok(bundled)) = schema.map(|schema| elsewhere::bundled(schema, known)) {
            missing.extend(bundled.missing);
        }
        missing
    }
}

/// Refuses values that a schema refuses.
pub(super) fn check(chart: &Chart, values: &Value, known: &mut Known<'_>) -> Result<(), Error> {
    if let Some(schema) = &chart.schema {
        let name = || chart.name().to_owned();
        let problems = match judged(schema, values, known) {
            Ok(problems) => problems,
            Err(Refused::Missing(urls)) => {
                return Err(Error::Elsewhere { chart: name(), urls: urls.into_iter().collect() });
            }
            Err(Refused::Wrong(problem)) => vec![format!("values.schema.json: {}", shortened(&problem))],
        };
        if !problems.is_empty() {
            return Err(Error::Schema { chart: name(), problems });
        }
    }
    for subchart in &chart.dependencies {
        match values.get(subchart.name()) {
            Some(below @ Value::Map(_)) => check(subchart, &below, known)?,
            None | Some(Value::Nil | Value::Null) => {}
            Some(other) => {
                let problem = format!("values are to be a map, not {}", other.kind());
                return Err(Error::Schema { chart: subchart.name().to_owned(), problems: vec![problem] });
            }
        }
    }
    Ok(())
}

/// URNs allow everything, as in Helm; what is at URLs was put into the schema.
struct Elsewhere;

impl jsonschema::Retrieve for Elsewhere {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
        if uri.scheme().as_str() == "urn" {
            return Ok(serde_json::json!({}));
        }
        Err(format!("there is no schema at {uri}").into())
    }
}

/// The most problems that are told.
const TOLD: usize = 20;

/// The longest words of a problem, in characters.
const LONGEST: usize = 300;

/// Why nothing is judged.
enum Refused {
    /// The schema itself is wrong.
    Wrong(String),
    /// It refers to what is not at hand.
    Missing(BTreeSet<String>),
}

impl From<String> for Refused {
    fn from(problem: String) -> Self {
        Self::Wrong(problem)
    }
}

/// What the values do not meet.
fn judged(schema: &[u8], values: &Value, known: &mut Known<'_>) -> Result<Vec<String>, Refused> {
    weight::check_length(schema)?;
    let schema: serde_json::Value = serde_json::from_slice(schema).map_err(|error| error.to_string())?;
    if schema.get("$schema").is_some_and(|draft| matches!(draft.as_str(), Some("" | "#"))) {
        return Err("its `$schema` names no draft".to_owned().into());
    }
    let Bundled { mut schema, missing } = elsewhere::bundled(schema, known)?;
    if !missing.is_empty() {
        return Err(Refused::Missing(missing));
    }
    let values = values.to_json_value();
    weight::check(&schema, &values)?;
    dialect::translate(&mut schema)?;
    let options = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .with_format("uuid", dialect::is_uuid)
        .with_format("duration", dialect::is_duration)
        .with_format("semver", dialect::is_semver);
    let validator = options.with_retriever(Elsewhere).build(&schema).map_err(|error| error.to_string())?;
    // Values may be secret: they are not told, only where they are.
    let told = validator.iter_errors(&values).take(TOLD);
    let told = told.map(|error| {
        let path = error.instance_path().to_string();
        let problem = error.masked().to_string();
        format!("{}: {}", if path.is_empty() { "/" } else { &path }, shortened(&problem))
    });
    Ok(told.collect())
}

fn shortened(words: &str) -> String {
    match words.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", words.get(..at).unwrap_or_default()),
        None => words.to_owned(),
    }
}
