//! What operators do: two at a time, Ctrl-C, changed files, hosts of other clouds, a host that is off.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::{Running, cloud, cozy, done, nodes, services, text};

const TWO: &str = "  - { address: 10.98.0.21, role: server }\n  - { address: 10.98.0.22 }\n";

/// What a command says when it must end with this exit code.
fn refused(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
#[ignore = "long"]
fn whatever_operators_do_is_understood_or_refused() {
    let mut bed = Bed::boot(2);
    cloud(&bed, TWO, "");
    let install = || cozy(&bed, &["install", "--yes", "-o", "json"]);
    // Somebody else at the same time is told who is at work; a killed run keeps nobody off.
    let mut running = Running::start(install());
    running.until("waiting", "install kubelet");
    let said = refused(&mut cozy(&bed, &["install", "--yes"]), 6);
    assert!(
        said.contains("another run works on it: `cozy install` on ") && said.contains("--wait-lock"),
        "{said}"
    );
    let said = refused(&mut cozy(&bed, &["uninstall", "--hosts", "--yes"]), 6);
    assert!(said.contains("another run works on it"), "{said}");
    // Ctrl-C ends soon, and says how it goes on.
    running.until("waiting", "kubeadm init");
    let begun = Instant::now();
    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = running.end();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stdout));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    done(&install().output().unwrap());
    assert_eq!(nodes(&bed), "h1=True h2=True");

    // The kubeconfig is lost.
    fs_err::remove_file(bed.path("bed.kubeconfig")).unwrap();
    let said = refused(&mut cozy(&bed, &["status"]), 1);
    assert!(said.contains("`cozy install` writes it"), "{said}");
    done(&install().output().unwrap());
    refused(&mut cozy(&bed, &["status"]), 0);

    // Another role, another name, another cloud.
    cloud(&bed, "  - { address: 10.98.0.21, role: server }\n  - { address: 10.98.0.22, name: web }\n", "");
    let said = refused(&mut cozy(&bed, &["install", "--yes"]), 1);
    assert!(said.contains("error[C2511]: host `web` belongs to the cluster as agent h2 10.98.0.22, and cozy.yaml wants agent web 10.98.0.22"), "{said}");
    cloud(&bed, "  - { address: 10.98.0.22, role: server }\n  - { address: 10.98.0.21 }\n", "");
    let said = refused(&mut cozy(&bed, &["install", "--yes"]), 1);
    assert!(
        said.contains("host `h1` belongs to the cluster as server h1")
            && said.contains("host `h2` belongs to the cluster as agent h2"),
        "{said}"
    );
    let file = cloud(&bed, TWO, "");
    let other = fs_err::read_to_string(&file).unwrap().replace("name: bed\n", "name: other\n");
    fs_err::write(&file, other).unwrap();
    for command in [&["preflight"][..], &["install", "--yes"]] {
        let said = refused(&mut cozy(&bed, command), 4);
        assert!(said.contains("it belongs to cloud bed"), "{said}");
    }
    let before = services(&bed, &[1, 2]);
    refused(&mut cozy(&bed, &["uninstall", "--hosts", "--yes"]), 0);
    assert_eq!(services(&bed, &[1, 2]), before);
    cloud(&bed, TWO, "");
    assert_eq!(nodes(&bed), "h1=True h2=True");
    done(&install().output().unwrap());

    // A host is off.
    bed.power("off 2");
    let said = refused(&mut cozy(&bed, &["install", "--yes"]), 4);
    assert!(said.contains("10.98.0.22") && said.contains("it cannot be reached"), "{said}");
    crate::kubectl(&bed, &["wait", "node/h2", "--for=condition=Ready=Unknown", "--timeout=120s"]);
    let said = refused(&mut cozy(&bed, &["status"]), 5);
    assert!(said.contains("node h2"), "{said}");
}
