//! `values.schema.json` of a chart and its subcharts (Helm's `jsonschema.go`).

use jsonschema::Uri;

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
        Err(format!("the schema at {uri} is not fetched: put it into values.schema.json").into())
    }
}

/// The most problems that are told.
const TOLD: usize = 20;

fn problems(schema: &[u8], values: &Value) -> Vec<String> {
    let schema: serde_json::Value = match serde_json::from_slice(schema) {
        Ok(schema) => schema,
        Err(error) => return vec![format!("values.schema.json: {error}")],
    };
    let validator = match jsonschema::options().with_retriever(Elsewhere).build(&schema) {
        Ok(validator) => validator,
        Err(error) => return vec![format!("values.schema.json: {error}")],
    };
    let values = values.to_json_value();
    let told = validator.iter_errors(&values).take(TOLD);
    told.map(|error| {
        let path = error.instance_path().to_string();
        format!("{}: {error}", if path.is_empty() { "/".to_owned() } else { path })
    })
    .collect()
}
