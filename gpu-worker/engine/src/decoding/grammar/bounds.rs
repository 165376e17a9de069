//! What a schema may be before it is compiled: its size, and what is wrong with it, by place.

use serde_json::{Map, Value};

use crate::error::{EngineError, Result};

/// Bytes of a schema.
const MAX_BYTES: usize = 64 << 10;
/// Values in a schema, of whatever kind.
const MAX_VALUES: usize = 8_192;
/// Schemas inside a schema, at most this deep.
const MAX_DEPTH: usize = 48;
/// References in a schema.
const MAX_REFERENCES: usize = 512;
/// Bytes of a regular expression.
const MAX_PATTERN: usize = 1_024;
/// Largest number of items, properties or characters that a schema may count to.
const MAX_COUNT: u64 = 100_000;

/// Keywords whose value is a schema, a list of schemas, or schemas by name.
const ONE: [&str; 3] = ["items", "additionalItems", "additionalProperties"];
const LIST: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Keywords that forbid answers which token sets cannot rule out.
const UNSUPPORTED: [&str; 17] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
    "x-guidance",
];
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// The schema itself when it is within bounds, as an object.
///
/// Errors name the first place where something is wrong, such as `#/properties/age/type`.
pub(super) fn checked(schema: Value) -> Result<Value> {
    let schema = match schema {
        Value::Bool(true) => Value::Object(Map::new()),
        other => other,
    };
    let mut check = Check { references: 0 };
    check.size(&schema)?;
    check.schema(&schema, "#", 0)?;
    Ok(schema)
}

struct Check {
    references: usize,
}

fn wrong(at: &str, what: impl std::fmt::Display) -> EngineError {
    let at: String = match at.char_indices().rev().nth(160) {
        Some((cut, _)) => format!("…{}", &at[cut..]),
        None => at.to_owned(),
    };
    EngineError::Schema(format!("at {at}: {what}"))
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 0,
    }
}

impl Check {
    fn size(&self, schema: &Value) -> Result<()> {
        let bytes = schema.to_string().len();
        if bytes > MAX_BYTES {
            return Err(wrong("#", format!("it has {bytes} bytes, {MAX_BYTES} is the most")));
        }
        let values = values(schema);
        if values > MAX_VALUES {
            return Err(wrong("#", format!("it has {values} values, {MAX_VALUES} is the most")));
        }
        Ok(())
    }

    fn schema(&mut self, schema: &Value, at: &str, depth: usize) -> Result<()> {
        let fields = match schema {
            Value::Bool(_) if depth > 0 => return Ok(()),
            Value::Object(fields) => fields,
            _ if depth > 0 => return Err(wrong(at, "a schema has to be an object, true or false")),
            _ => return Err(wrong(at, "the schema has to be an object")),
        };
        if depth > MAX_DEPTH {
            return Err(wrong(at, format!("schemas may stand {MAX_DEPTH} deep at most")));
        }
        for (keyword, value) in fields {
            let at = format!("{at}/{keyword}");
            self.keyword(keyword, value, &at, depth)?;
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &Value, at: &str, depth: usize) -> Result<()> {
        if UNSUPPORTED.contains(&keyword) {
            return Err(wrong(at, format!("`{keyword}` is not supported")));
        }
        if ONE.contains(&keyword) {
            return self.schema(value, at, depth + 1);
        }
        if LIST.contains(&keyword) {
            let list = value.as_array().filter(|list| !list.is_empty());
            let list = list.ok_or_else(|| wrong(at, "it has to be a list of schemas"))?;
            let mut each = list.iter().enumerate();
            return each.try_for_each(|(i, s)| self.schema(s, &format!("{at}/{i}"), depth + 1));
        }
        if NAMED.contains(&keyword) {
            let map = value.as_object().ok_or_else(|| wrong(at, "it has to be an object"))?;
            if keyword == "patternProperties" {
                map.keys().try_for_each(|pattern| short(pattern, at))?;
            }
            let mut each = map.iter();
            return each.try_for_each(|(k, s)| self.schema(s, &format!("{at}/{k}"), depth + 1));
        }
        match keyword {
            "$ref" => self.reference(value, at),
            "type" => types(value, at),
            "required" => {
                let texts = value.as_array().filter(|list| list.iter().all(Value::is_string));
                texts.map(|_| ()).ok_or_else(|| wrong(at, "it has to be a list of names"))
            }
            "enum" => {
                let list = value.as_array().filter(|list| !list.is_empty());
                list.map(|_| ()).ok_or_else(|| wrong(at, "it has to be a list of values"))
            }
            "pattern" => {
                let pattern = value.as_str().ok_or_else(|| wrong(at, "it has to be a text"))?;
                short(pattern, at)
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
            | "maxProperties" => match value.as_f64() {
                Some(n) if n.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(&n) => Ok(()),
                _ => Err(wrong(at, format!("it has to be a whole number up to {MAX_COUNT}"))),
            },
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                value.as_f64().map(|_| ()).ok_or_else(|| wrong(at, "it has to be a number"))
            }
            _ => Ok(()),
        }
    }

    fn reference(&mut self, value: &Value, at: &str) -> Result<()> {
        self.references += 1;
        if self.references > MAX_REFERENCES {
            return Err(wrong(at, format!("there may be {MAX_REFERENCES} references at most")));
        }
        match value.as_str() {
            Some(text) if text == "#" || text.starts_with("#/") => Ok(()),
            Some(_) => Err(wrong(at, "only references into the schema itself (#/…) are followed")),
            None => Err(wrong(at, "it has to be a text")),
        }
    }
}

fn short(pattern: &str, at: &str) -> Result<()> {
    if pattern.len() > MAX_PATTERN {
        return Err(wrong(at, format!("a pattern may have {MAX_PATTERN} bytes at most")));
    }
    Ok(())
}

fn types(value: &Value, at: &str) -> Result<()> {
    let names: Vec<&Value> = match value {
        Value::Array(list) if !list.is_empty() => list.iter().collect(),
        other => vec![other],
    };
    for name in names {
        match name.as_str() {
            Some(name) if TYPES.contains(&name) => {}
            _ => return Err(wrong(at, format!("{name} is none of {}", TYPES.join(", ")))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        for (schema, place) in [
            (json!(3), "at #: "),
            (json!(false), "at #: "),
            (json!({"type": "strin"}), "at #/type: \"strin\""),
            (json!({"type": ["null", 3]}), "at #/type: 3"),
            (json!({"properties": []}), "at #/properties: "),
            (json!({"properties": {"a": {"type": "x"}}}), "at #/properties/a/type: "),
            (json!({"properties": {"a": 7}}), "at #/properties/a: "),
            (json!({"items": {"anyOf": [true, {"enum": []}]}}), "at #/items/anyOf/1/enum: "),
            (json!({"anyOf": {}}), "at #/anyOf: "),
            (json!({"required": "a"}), "at #/required: "),
            (json!({"minItems": -1}), "at #/minItems: "),
            (json!({"maxLength": 1_000_000_000u64}), "at #/maxLength: "),
            (json!({"minimum": "3"}), "at #/minimum: "),
            (json!({"pattern": "a".repeat(2_000)}), "at #/pattern: "),
            (json!({"$ref": "https://example.org/s"}), "at #/$ref: "),
            (json!({"not": {"type": "string"}}), "at #/not: `not` is not supported"),
            (json!({"x-guidance": {"lenient": true}}), "at #/x-guidance: "),
            (json!({"description": "x".repeat(70_000)}), "at #: it has "),
            (json!({"enum": vec![0; 9_000]}), "at #: it has "),
        ] {
            match checked(schema.clone()) {
                Err(EngineError::Schema(reason)) => {
                    assert!(reason.starts_with(place), "{reason}: {schema}")
                }
                other => panic!("{other:?}: {schema}"),
            }
        }
        let deep = (0..60).fold(json!(true), |inner, _| json!({"items": inner}));
        assert!(checked(deep).is_err());
        let references: Vec<_> = (0..600).map(|_| json!({"$ref": "#"})).collect();
        assert!(checked(json!({"anyOf": references})).is_err());
    }

    #[test]
    fn names_are_no_keywords_where_they_are_names() {
        let schema = json!({
            "type": "object",
            "properties": {"not": {"type": "string"}, "type": {"type": "integer"}},
            "required": ["not"],
            "enum": [{"if": 3}],
        });
        assert_eq!(checked(schema.clone()).unwrap(), schema);
        assert_eq!(checked(json!(true)).unwrap(), json!({}));
    }
}
