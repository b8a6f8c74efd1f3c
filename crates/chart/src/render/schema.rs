//! `values.schema.json` of a chart and its subcharts (Helm's `jsonschema.go`).

mod dialect;
mod weight;

pub use weight::schema_weight;

use jsonschema::{PatternOptions, Uri};

use crate::chart::Chart;
use crate::error::Error;
use crate::value::Value;

/// Refuses values that a schema refuses.
pub(super) fn check(chart: &Chart, values: &Value) -> Result<(), Error> {
    if let Some(schema) = &chart.schema {
        let problems = problems(schema, values);
        if !problems.is_empty() {
            return Err(Error::Schema { chart: chart.name().to_owned(), problems });
        }
    }
    for subchart in &chart.dependencies {
        match values.get(subchart.name()) {
            Some(below @ Value::Map(_)) => check(subchart, &below)?,
            None | Some(Value::Nil | Value::Null) => {}
            Some(other) => {
                let problem = format!("values are to be a map, not {}", other.kind());
                return Err(Error::Schema { chart: subchart.name().to_owned(), problems: vec![problem] });
            }
        }
    }
    Ok(())
}

/// Schemas elsewhere are not fetched; URNs allow everything, as in Helm.
struct Elsewhere;

impl jsonschema::Retrieve for Elsewhere {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
        if uri.scheme().as_str() == "urn" {
            return Ok(serde_json::Value::Bool(true));
        }
        Err(format!(
            "the schema at {uri} is not fetched: put it into values.schema.json, or give `--skip-schema-validation`"
        )
        .into())
    }
}

/// The most problems that are told.
const TOLD: usize = 20;

/// The longest words of a problem, in characters.
const LONGEST: usize = 300;

fn problems(schema: &[u8], values: &Value) -> Vec<String> {
    judged(schema, values)
        .unwrap_or_else(|problem| vec![format!("values.schema.json: {}", shortened(&problem))])
}

/// What the values do not meet; an error where the schema itself is wrong.
fn judged(schema: &[u8], values: &Value) -> Result<Vec<String>, String> {
    weight::check_length(schema)?;
    let mut schema: serde_json::Value = serde_json::from_slice(schema).map_err(|error| error.to_string())?;
    if schema.get("$schema").is_some_and(|draft| matches!(draft.as_str(), Some("" | "#"))) {
        return Err("its `$schema` names no draft".to_owned());
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
