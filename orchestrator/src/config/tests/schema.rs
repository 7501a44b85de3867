//! What `copo schema` prints, against what the reader does.

use super::*;

/// Every key that the schema knows stands in [`COMPLETE`]: so the test above sees each of them.
#[test]
fn the_complete_example_is_complete() {
    for (table, properties) in tables_of_the_schema() {
        // Not on every platform; `attributes` has tests of its own.
        let elsewhere = ["user", "group", "umask", "nice", "limits", "tty"];
        for key in properties.keys().filter(|key| !elsewhere.contains(&key.as_str())) {
            assert!(COMPLETE.contains(key.as_str()), "{key} of {table}");
        }
    }
}

type Properties = serde_json::Map<String, serde_json::Value>;

/// The tables that the schema describes, by name ("Process"), with their properties.
fn tables_of_the_schema() -> Vec<(String, Properties)> {
    let schema = schema();
    let properties = |schema: &serde_json::Value| schema["properties"].as_object().cloned();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let below = definitions.iter().filter_map(|(name, schema)| Some((name.clone(), properties(schema)?)));
    below.chain([("RawFile".to_owned(), properties(&schema).expect("properties"))]).collect()
}

/// Writes out every default that the schema tells for these tables.
#[test]
fn the_defaults_that_the_schema_tells_are_those_of_the_plan() {
    let mut text = "application = 'weather'\n".to_owned();
    for (header, table) in [
        ("[context]", "Context"),
        ("[context.retain]", "Retain"),
        ("[process.a]\nexecutable_path = 'a'", "Process"),
        ("[process.a.backoff]", "Backoff"),
        ("[process.a.log]", "Log"),
    ] {
        let tables = tables_of_the_schema();
        let (_, properties) = tables.iter().find(|(name, _)| name == table).expect(table);
        let _ = writeln!(text, "{header}");
        let with_default = properties.iter().filter_map(|(key, property)| Some((key, property.get("default")?)));
        // A table's own default is that of its keys, which are written too.
        for (key, default) in with_default.filter(|(_, default)| !default.is_object() && !default.is_null()) {
            let _ = writeln!(text, "{key} = {default}");
        }
    }
    assert!(text.contains("stop_grace = \"10s\"") && text.contains("records = 1000000"), "{text}");

    let plan = plan_of(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));

    assert_eq!(plan.context, default_context());
    assert_eq!(plan.processes, [plain("a", "a")]);
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["application"]));
    assert_eq!(schema["$defs"]["Process"]["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Process"]["required"], serde_json::json!(["executable_path"]));
}
