//! Artefacts over HTTPS, and certificates: refused before anything is written,
//! made, approved and renewed on real servers.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Output, Stdio};

use crate::bed::Bed;
use crate::{BED, LACKS, done, nodes, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Serves a folder over HTTPS in the hosts' network, and prints each path that is asked for.
const SERVER: &str = r"
import functools, http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
    def send_head(self):
        print(self.path, flush=True)
        return super().send_head()
server = http.server.ThreadingHTTPServer(('10.98.0.1', 0), functools.partial(Handler, directory=sys.argv[1]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

struct Mirror {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    url: String,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mirror {
    /// With a certificate that ends in a year; its authority is written to `NAME.pem`.
    fn start(bed: &Bed, name: &str, year: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(vec!["10.98.0.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs_err::write(bed.path(&format!("{name}.pem")), &pem).unwrap();
        let both = bed.path(&format!("{name}-both.pem"));
        fs_err::write(&both, format!("{pem}{}", key.serialize_pem())).unwrap();
        let mut child = bed
            .command("python3")
            .args(["-c", SERVER, &format!("{ROOT}/target/bed/mirror"), &both])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        Self { child, lines, url: format!("https://10.98.0.1:{}", port.trim()) }
    }

    /// What was asked for; the server ends.
    fn asked(mut self) -> Vec<String> {
        let _ = self.child.kill();
        (&mut self.lines).lines().map_while(Result::ok).collect()
    }
}

/// Installs the bundle `bed` on h1 and h2, with artefacts from a mirror and a catalogue that locks them.
fn install(bed: &Bed, artefacts: &str, catalogue: &str) -> Output {
    install_with(bed, artefacts, catalogue, BED)
}

/// The same with other settings of Kubernetes.
fn install_with(bed: &Bed, artefacts: &str, catalogue: &str, settings: &str) -> Output {
    let path = bed.path("cozy.yaml");
    let hosts = "  - { address: 10.98.0.21, role: server }\n  - { address: 10.98.0.22 }\n";
    let text = format!(
        "apiVersion: cozy/v1\nkind: Cloud\nname: bed\nbundle: bed\nhosts:\n{hosts}artifacts: {{ {artefacts} }}\n{settings}"
    );
    fs_err::write(&path, text).unwrap();
    let mut command = bed.command(&bed.program());
    command.args(["install", "-f", &path, "--yes", "--accept-new-host-keys", "-o", "json"]).args(LACKS);
    command.arg("--catalogue").arg(format!("{ROOT}/tests/bed/catalogue"));
    command.arg("--catalogue").arg(catalogue);
    command.output().unwrap()
}

/// The bed's lock, with another home for its files.
fn lock(home: &str) -> String {
    let lock =
        fs_err::read_to_string(format!("{ROOT}/target/bed/catalogue/bundles/kubernetes.lock")).unwrap();
    let line = |line: &str| {
        let Some((before, rest)) = line.split_once("url: \"") else { return format!("{line}\n") };
        let (url, after) = rest.split_once('"').unwrap();
        let version = before.split("version: ").nth(1).unwrap().split(',').next().unwrap();
        let file = url.rsplit('/').next().unwrap();
        format!("{before}url: \"{home}/kubernetes/{version}/amd64/{file}\"{after}\n")
    };
    lock.lines().map(line).collect()
}

/// What is newer than the marker where cozy would write.
fn written(bed: &Bed, host: usize) -> String {
    bed.on(host, "find /etc /opt /usr/local /var/lib -xdev -newer /root/marker ! -path '/var/lib/systemd*' -type f; ls -d /var/lib/cozy 2>/dev/null || true")
}

fn refused(bed: &Bed, output: &Output, code: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(code), "{code}: {said}");
    assert_eq!((written(bed, 1), written(bed, 2)), (String::new(), String::new()));
}

fn kubectl(bed: &Bed, arguments: &[&str]) -> Output {
    let kubectl = format!("{ROOT}/target/bed/bin/kubectl");
    bed.command(&kubectl)
        .args(["--kubeconfig", &bed.path("bed.kubeconfig")])
        .args(arguments)
        .output()
        .unwrap()
}

/// Seconds until the first of kubeadm's certificates of h1 ends.
fn left(bed: &Bed) -> i64 {
    let lines = bed.on(1, "/usr/local/bin/cozy host certificates");
    let of_kubeadm = lines.lines().filter(|line| line.contains("/etc/kubernetes"));
    let seconds = of_kubeadm.map(|line| line.split(' ').next().unwrap().parse::<i64>().unwrap());
    seconds.min().unwrap()
}

/// kubeadm makes its certificates anew, for so long.
fn shorten(bed: &Bed, validity: &str) {
    let script = format!(
        "sed '0,/\"clusterName\"/s//\"certificateValidityPeriod\": \"{validity}\", &/' /var/lib/cozy/kubeadm.json >/root/short.json
         /usr/local/bin/kubeadm certs renew all --config /root/short.json >/dev/null"
    );
    bed.on(1, &script);
}

#[test]
#[ignore = "long"]
fn artefacts_come_over_https_and_certificates_are_approved_and_renewed() {
    let bed = Bed::boot(2);
    for host in [1, 2] {
        bed.on(host, "touch -d '1 second ago' /root/marker");
    }
    // A mirror whose certificate has ended.
    let ended = Mirror::start(&bed, "ended", 2021);
    let artefacts = format!("mirror: '{}', ca: ended.pem", ended.url);
    refused(&bed, &install(&bed, &artefacts, &format!("{ROOT}/target/bed/catalogue")), "C8002");
    assert_eq!(ended.asked(), Vec::<String>::new());
    // Upstream, as far as the lock knows. Images are a folder's, as a web server does not say what it has.
    let upstream = Mirror::start(&bed, "good", 2035);
    fs_err::create_dir_all(bed.path("mirror")).unwrap();
    std::os::unix::fs::symlink(format!("{ROOT}/target/bed/mirror/images"), bed.path("mirror/images"))
        .unwrap();
    let artefacts = format!("mirror: 'file://{}', ca: good.pem", bed.path("mirror"));
    let lock = lock(&upstream.url);
    let digest = lock.lines().find(|line| line.contains("name: kubectl")).unwrap();
    let digest = digest.split("sha256: ").nth(1).unwrap().trim_end_matches(" }");
    let catalogue = bed.path("catalogue");
    fs_err::create_dir_all(format!("{catalogue}/bundles")).unwrap();
    let locked = format!("{catalogue}/bundles/kubernetes.lock");
    fs_err::write(&locked, lock.replace(digest, &"0".repeat(64))).unwrap();
    // A file that is not what was locked.
    let said = install(&bed, &artefacts, &catalogue);
    refused(&bed, &said, "C8007");
    assert!(text(&said.stderr).contains("kubectl") && text(&said.stderr).contains(digest));

    fs_err::write(&locked, lock).unwrap();
    done(&install(&bed, &artefacts, &catalogue));
    assert_eq!(nodes(&bed), "h1=True h2=True");
    let mut asked = upstream.asked();
    asked.sort_unstable();
    let all = asked.len();
    asked.dedup();
    // The one that was refused was not kept.
    assert_eq!(all, asked.len() + 1, "each file once, for both hosts and all runs: {asked:?}");

    // Who asks a kubelet knows whom it speaks to.
    for host in ["10.98.0.21", "10.98.0.22"] {
        bed.on(
            1,
            &format!(
                "curl -sS -o /dev/null --cacert /etc/kubernetes/pki/ca.crt https://{host}:10250/healthz"
            ),
        );
    }
    let again = done(&install(&bed, &artefacts, &catalogue));
    assert_eq!(crate::written(&again), 0);

    // A changed setting restarts what it concerns, and nothing else.
    let state = |bed: &Bed| {
        let lines = bed.on(1, "for name in etcd kube-apiserver containerd kubelet; do pgrep -o $name; done");
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        <[String; 4]>::try_from(lines).unwrap()
    };
    let before = state(&bed);
    let changed = |more: &str| BED.replace("kubernetes:\n", &format!("kubernetes:\n  {more}\n"));
    let audit = "apiServer: { extraArgs: [{ name: max-requests-inflight, value: \"500\" }] }";
    done(&install_with(&bed, &artefacts, &catalogue, &changed(audit)));
    let after = state(&bed);
    assert_eq!((&before[0], &before[2..]), (&after[0], &after[2..]));
    assert_ne!(before[1], after[1], "the API server has the new setting");
    assert!(
        bed.on(1, "tr '\\0' ' ' </proc/$(pgrep -o kube-apiserver)/cmdline")
            .contains("max-requests-inflight=500")
    );
    let pods = changed(audit).replace("  kubelet:\n", "  kubelet:\n    maxPods: 77\n");
    done(&install_with(&bed, &artefacts, &catalogue, &pods));
    let last = state(&bed);
    assert_eq!(after[..3], last[..3]);
    assert_ne!(after[3], last[3], "the kubelet was restarted");
    // A kubelet reports its capacity a moment after it has started.
    let reported = "--for=jsonpath={.status.capacity.pods}=77";
    let capacity = kubectl(&bed, &["wait", reported, "nodes", "--all", "--timeout=2m"]);
    assert!(capacity.status.success(), "{}", text(&capacity.stderr));

    // One day left: renewed in a planned step. None left: before anything else, and over SSH.
    for validity in ["24h", "1s"] {
        shorten(&bed, validity);
        assert!(left(&bed) <= 24 * 3600);
        let output = install_with(&bed, &artefacts, &catalogue, &pods);
        done(&output);
        assert!(text(&output.stdout).contains("renewing certificates"), "{}", text(&output.stdout));
        assert!(left(&bed) > 300 * 24 * 3600, "{}", left(&bed));
        let all = kubectl(&bed, &["get", "nodes"]);
        assert!(all.status.success(), "the new kubeconfig: {}", text(&all.stderr));
        assert_eq!(nodes(&bed), "h1=True h2=True");
    }
    let status = bed
        .command(&bed.program())
        .args(["status", "-f", &bed.path("cozy.yaml")])
        .args(["--catalogue", &format!("{ROOT}/tests/bed/catalogue"), "--catalogue", &catalogue])
        .output()
        .unwrap();
    let said = text(&status.stdout);
    assert!(said.contains("✓ certificates         end on "), "{said}{}", text(&status.stderr));
}
