//! Bytes that are not UTF-8: kept where Helm keeps them, refused where it
//! refuses them, never replaced in silence. The verdicts are Helm 4.3.1's.

use cozy_chart::{Chart, Error, File, Limits, Lookup, Release, Set, Standalone, ValueSource, Values};

const OBJECT: &str = "kind: A\nmetadata: {name: a}\n";

/// Renders a chart with one template, a file, and values.
fn rendered(template: &[u8], files: &[(&str, &[u8])], sources: &[ValueSource<'_>]) -> Result<String, Error> {
    let mut all = vec![
        File::new("Chart.yaml", &b"apiVersion: v2\nname: shop\nversion: 0.1.0\n"[..]),
        File::new("templates/a.yaml", [OBJECT.as_bytes(), template].concat()),
    ];
    all.retain(|file| !files.iter().any(|(path, _)| file.path == *path));
    all.extend(files.iter().map(|(path, data)| File::new(*path, *data)));
    let chart = Chart::from_files(all, &Limits::default())?;
    let values = Values::read(sources)?;
    let rendered = cozy_chart::render(&chart, &values, &Release::new("demo", "default"), &mut Standalone)?;
    Ok(rendered.manifests.into_iter().map(|manifest| manifest.text).collect())
}

#[test]
fn what_helm_refuses_is_refused() {
    let binary: &[(&str, &[u8])] = &[("binary", b"a\xff\xfe")];
    let chart: &[(&str, &[u8])] =
        &[("Chart.yaml", b"apiVersion: v2\nname: shop\nversion: 0.1.0\ndescription: \xff\n")];
    let own: &[(&str, &[u8])] = &[("values.yaml", b"y: \xff\n")];
    for (answer, problem) in [
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"y: \xff\n")]),
            "x.yaml: yaml: line 1: invalid leading UTF-8 octet",
        ),
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"y: 1\n# \xff\n")]),
            "x.yaml: yaml: line 2: invalid leading",
        ),
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"y: \xe2\x82\n")]),
            "invalid trailing UTF-8 octet",
        ),
        (rendered(b"", &[], &[ValueSource::File("x.yaml", b"y: \xe2")]), "incomplete UTF-8 octet sequence"),
        // apimachinery's reader of lines ends files with one byte, and so half a character.
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"\xff\xfey\0:\0 \x001\0\n\0")]),
            "x.yaml: yaml: incomplete UTF-16 character: save the file as UTF-8",
        ),
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"\xfe\xff\0y\0:\0 \x001")]),
            "incomplete UTF-16 character",
        ),
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"\xfe\xff\0y\0:\0 \xdc\x01\0\n")]),
            "unexpected low surrogate area",
        ),
        (
            rendered(b"", &[], &[ValueSource::File("x.yaml", b"\xfe\xff\0y\0:\0 \xd8\x01\0\n")]),
            "expected low surrogate area",
        ),
        (rendered(b"", own, &[]), "values.yaml: yaml: line 1: invalid leading UTF-8 octet"),
        (rendered(b"", chart, &[]), "Chart.yaml: yaml: line 4: invalid leading UTF-8 octet"),
        (
            rendered(b"d: \"\xff\"\n", &[], &[]),
            "templates/a.yaml: what it renders is not YAML: invalid leading",
        ),
        (
            rendered(b"d: {{ b64dec \"/w==\" }}\n", &[], &[]),
            "templates/a.yaml: what it renders is not YAML: invalid leading",
        ),
        (rendered(b"d: {{ .Files.Get \"binary\" }}\n", binary, &[]), "is not YAML: invalid leading"),
    ] {
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}\n{problem}");
    }
}

#[test]
fn utf_16_is_read_where_helm_reads_it() {
    // A character beyond the basic plane, a document that is not read, and lines that end as on Windows.
    let big: Vec<u8> = "v: \u{1f600}\r\n---\nz: 2\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let big = [b"\xfe\xff", &big[..]].concat();
    let given = &[ValueSource::File("x.yaml", &big)];
    let text = rendered(b"d: {{ toJson .Values }}\n", &[], given).unwrap();
    assert!(text.contains("d: {\"v\":\"\u{1f600}\"}\n"), "{text}");
    let marked = &[ValueSource::File("x.yaml", b"\xef\xbb\xbfv: 1\n")];
    let text = rendered(b"d: {{ toJson .Values }}\n", &[("values.yaml", &big)], marked).unwrap();
    assert!(text.contains("d: {\"v\":1}\n"), "{text}");
    // What is no file of values is read as a whole, of both ends.
    let little: Vec<u8> =
        "apiVersion: v2\nname: shop\nversion: 0.1.0\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let little = [b"\xff\xfe", &little[..]].concat();
    let text = rendered(b"d: {{ .Chart.Name }}\n", &[("Chart.yaml", &little)], &[]).unwrap();
    assert!(text.contains("d: shop\n"), "{text}");
}

#[derive(Debug)]
struct Binary;

impl Lookup for Binary {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(b"a\xff\xfeb".to_vec())
    }
}

#[test]
fn what_helm_keeps_is_kept() {
    let file = &[ValueSource::Set(Set::File("z=path", &Binary))];
    let text = rendered(b"d: {{ .Values.z | b64enc }}\nl: {{ len .Values.z }}\n", &[], file).unwrap();
    assert!(text.contains("d: Yf/+Yg==\nl: 4\n"), "{text}");
    let binary: &[(&str, &[u8])] = &[("binary", b"a\xff\xfe")];
    let text = rendered(b"d: {{ .Files.Get \"binary\" | b64enc }}\n", binary, &[]).unwrap();
    assert!(text.contains("d: Yf/+\n"), "{text}");
    let text = rendered(b"{{/* \xff */}}d: 1\n", &[], &[]).unwrap();
    assert!(text.contains("d: 1\n"), "{text}");
}

/// What functions of strings answer for bytes that are not UTF-8, as Helm 4.3.1 has it.
#[test]
fn functions_keep_bytes_as_helm_keeps_them() {
    let cases = [
        (r#"b64dec "iVBORw0KGgo=" | trim | b64enc"#, "iVBORw0KGg=="),
        (r#"b64dec "ICD/IP8gIA==" | trim | b64enc"#, "/yD/"),
        (r#"b64dec "iVBORw0KGgo=" | replace "P" "Q" | b64enc"#, "iVFORw0KGgo="),
        (r#"replace "" "-" (b64dec "6WHp") | b64enc"#, "LektYS3pLQ=="),
        (r#"replace "a" (b64dec "6Q==") "bab" | b64enc"#, "Yuli"),
        (r#"replace (b64dec "6Q==") "x" (b64dec "6WHp")"#, "xax"),
        (r#"contains (b64dec "/w==") (b64dec "YP8=")"#, "true"),
        (r#"contains "\ufffd" (b64dec "YP8=")"#, "false"),
        (r#"b64dec "/2H/" | trimAll (b64dec "/w==") | b64enc"#, "YQ=="),
        (r#"b64dec "YWH/YWE=" | trimAll "a" | b64enc"#, "/w=="),
        (r#"(split " " (b64dec "6SDp"))._0 | b64enc"#, "6Q=="),
        (r#"(splitn " " 2 (b64dec "6SDpIOk="))._1 | b64enc"#, "6SDp"),
        (r#"splitList "a" (b64dec "6WHp") | join "+" | b64enc"#, "6Svp"),
        (r#"splitList "" (b64dec "6WHpYg==") | join "+" | b64enc"#, "6SthK+krYg=="),
        (r#"regexFindAll "[^a]" (b64dec "6WHpYg==") -1 | join "+" | b64enc"#, "6SvpK2I="),
        (r#"regexSplit "a" (b64dec "6WHpYg==") -1 | join "+" | b64enc"#, "6SvpYg=="),
        (r#"regexQuoteMeta (b64dec "6S7p") | b64enc"#, "6Vwu6Q=="),
        (r#"b64dec "6S/p" | base | b64enc"#, "6Q=="),
        (r#"b64dec "6S/p" | dir | b64enc"#, "6Q=="),
        (r#"b64dec "6S8vLukv6S4=" | clean | b64enc"#, "6S8u6S/pLg=="),
        (r#"b64dec "6S8u6Q==" | ext | b64enc"#, "Luk="),
        (r#"b64dec "6TzpJiDp" | html | b64enc"#, "6SZsdDvpJmFtcDsg6Q=="),
        (r#"b64dec "6TzpJiDp" | js | b64enc"#, "6Vx1MDAzQ+lcdTAwMjYg6Q=="),
        (r#"b64dec "6TzpJiDp" | urlquery"#, "%E9%3C%E9%26+%E9"),
        (r#".Files.Lines "lines" | join "+" | b64enc"#, "Yf8rYg=="),
    ];
    let lines: &[(&str, &[u8])] = &[("lines", b"a\xff\nb\n")];
    for (call, helm) in cases {
        let template = format!("d: \"{{{{ {call} }}}}\"\n");
        let text = rendered(template.as_bytes(), lines, &[]).unwrap();
        assert!(text.contains(&format!("d: \"{helm}\"\n")), "{call}: {text}\n{helm}");
    }
}
