//! What answers where an API server should, and is none: a login page, a proxy, noise. cozy says so at once, waits for
//! nothing, and shows no credentials.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

use super::{text, write};

/// Serves one answer for ever; gives the port.
fn serve(status: &'static str, body: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Questions have no body: their head is all there is.
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(body);
        }
    });
    port
}

/// What `cozy install` says of a server, and its exit code.
fn installed_on(port: u16) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{ name: a, cluster: {{ server: 'http://127.0.0.1:{port}' }} }}]\n\
         users: [{{ name: a, user: {{ token: canary-token }} }}]\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
         current-context: a\n"
    );
    let kubeconfig = write(&folder, "kubeconfig", &kubeconfig);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
    let output = super::cozy(&[
        "install",
        "--yes",
        "--file",
        &format!("{example}/cozy.yaml"),
        "--catalogue",
        &format!("{example}/catalogue"),
        "--kubeconfig",
        &kubeconfig,
    ]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!said.contains("canary"), "{said}");
    (output.status.code(), said)
}

#[test]
fn what_is_no_api_server_is_called_so() {
    for body in ["<html>Please log in</html>", "[1, 2, 3]", "{\"kind\": \"Sta\u{0}\"}"] {
        let (code, said) = installed_on(serve("200 OK", body.as_bytes()));
        assert_eq!(code, Some(1), "{said}");
        for words in
            ["error[C4009]", "what answers there is no API server", "check `server` in the kubeconfig"]
        {
            assert!(said.contains(words), "{body}: {said}");
        }
    }
    let (code, said) = installed_on(serve("200 OK", b"{\"kind\": \"Sta\xff\xfe\"}"));
    assert!(code == Some(1) && said.contains("what answers there is no API server"), "{said}");
}

#[test]
fn refusals_of_strangers_end_at_once_with_their_words() {
    let (code, said) = installed_on(serve("403 Forbidden", b"<html>Blocked by policy</html>"));
    assert!(code == Some(1) && said.contains("error[C4002]") && said.contains("Blocked by policy"), "{said}");
    let (code, said) = installed_on(serve("401 Unauthorized", b"no"));
    assert!(code == Some(1) && said.contains("credentials are not valid any more"), "{said}");
    let (code, said) = installed_on(serve("502 Bad Gateway", b"upstream connect error"));
    assert!(code == Some(1) && said.contains("upstream connect error"), "{said}");
    assert!(said.contains("what is in front of it, is not well"), "{said}");
}

/// What `cozy status` says with a kubeconfig.
fn status_with(kubeconfig: &[u8], more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    fs_err::write(&path, kubeconfig).unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
    let (file, catalogue) = (format!("{example}/cozy.yaml"), format!("{example}/catalogue"));
    let path = path.to_str().unwrap();
    let flags = ["status", "--file", &file, "--catalogue", &catalogue, "--kubeconfig", path];
    let output = super::cozy(&[&flags, more].concat());
    (output.status.code(), text(&output.stderr).replace(folder.path().to_str().unwrap(), ""))
}

#[test]
fn kubeconfigs_that_cannot_be_used_are_refused_in_words() {
    let of = |user: &str| {
        format!(
            "clusters: [{{ name: a, cluster: {{ server: 'http://127.0.0.1:9' }} }}]\ncurrent-context: a\n\
             contexts: [{{ name: prod, context: {{ cluster: a, user: a }} }}, {{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             users:\n- name: a\n  user:\n    {user}\n"
        )
    };
    let plugin = "exec: { command: sh, args: [-c, 'echo canary; exit 3'], interactiveMode: Never }";
    let mut said = String::new();
    for (kubeconfig, more, code) in [
        (b"\xff\xfe\0".to_vec(), &[][..], 2),
        (of("token: \"canary\\nb\"").into_bytes(), &[], 2),
        (of("token: canary").into_bytes(), &["--context", "pord"], 2),
        (of(plugin).into_bytes(), &[], 1),
    ] {
        let (ended, words) = status_with(&kubeconfig, more);
        assert_eq!(ended, Some(code), "{words}");
        said += &words;
    }
    assert!(!said.contains("canary"), "{said}");
    insta::assert_snapshot!(said, @"
    error[C4006]: cannot read the kubeconfig at `/kubeconfig`
      caused by: `/kubeconfig`: it is neither UTF-8 nor UTF-16

    hint: name it with --kubeconfig and --context
    error[C4006]: cannot read the kubeconfig at `/kubeconfig`
      caused by: its token has a character that no token has, such as a line break

    hint: name it with --kubeconfig and --context
    error[C4006]: cannot read the kubeconfig at `/kubeconfig`
      caused by: there is no context `pord`: did you mean `prod`?

    hint: name it with --kubeconfig and --context
    error[C4011]: the kubeconfig's credentials cannot be had: the plugin failed: exit status: 3

    hint: log in again where it wants that, and see that `kubectl get nodes` works with the same kubeconfig
    ");
}

/// Found by review: behind a proxy in the environment there was no way to any cluster, and the password was printed.
#[test]
fn no_proxy_is_used_for_api_servers() {
    let folder = tempfile::tempdir().unwrap();
    let port = serve("200 OK", b"<html>a login page</html>");
    let with = |cluster: &str| {
        let kubeconfig = format!(
            "clusters: [{{ name: a, cluster: {{ server: 'http://127.0.0.1:{port}'{cluster} }} }}]\ncurrent-context: a\n\
             contexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\nusers: [{{ name: a, user: {{ token: t }} }}]\n"
        );
        let kubeconfig = write(&folder, "kubeconfig", &kubeconfig);
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command.args(["status", "--file", &format!("{example}/cozy.yaml"), "--kubeconfig", &kubeconfig]);
        command.args(["--catalogue", &format!("{example}/catalogue")]).env_clear();
        command.env("XDG_STATE_HOME", folder.path()).env("HTTPS_PROXY", "http://u:canary@127.0.0.1:9");
        let output = command.env("NO_PROXY", "a,,").output().unwrap();
        let said = text(&output.stderr).replace(folder.path().to_str().unwrap(), "");
        assert!(!said.contains("canary"), "{said}");
        said
    };
    let said = with("");
    assert!(said.contains("error[C4009]"), "the server itself must answer: {said}");
    insta::assert_snapshot!(with(", proxy-url: 'http://u:canary@proxy:3128'"), @"
    error[C4006]: cannot read the kubeconfig at `/kubeconfig`
      caused by: its cluster `a` is behind the proxy `proxy:3128` (`proxy-url`), and cozy uses none for API servers

    hint: name it with --kubeconfig and --context
    ");
}
