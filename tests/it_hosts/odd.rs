//! Servers that are set up in odd ways, each of which is somebody's usual one.

use std::process::Command;

use crate::bed::Bed;
use crate::{Running, cloud, cozy, done, kubectl, nodes, text, written};

const HOSTS: &str =
    "  - { address: 10.98.0.21, role: server, user: admin }\n  - { address: 10.98.0.22, user: root }\n";

/// What all logins see: noise in the path, another locale, nothing that runs in /tmp.
const ALL: &str = r#"
mount -t tmpfs -o noexec,nosuid,nodev tmpfs /tmp
printf 'LC_ALL=de_DE.UTF-8\nLANG=de_DE.UTF-8\nPATH="/no where:.:/usr/local/bin:/usr/bin:/bin"\n' >/etc/environment
printf 'W\344rnung: nur f\374r Befugte\n' | tee /etc/motd >/etc/issue.net
printf '127.0.0.1 localhost\n' >/etc/hosts
"#;

/// A user with another shell, whose start-up files print half a line in Latin-1, behind a careful sshd and sudo.
const ADMIN: &str = r#"
chsh -s /bin/tcsh admin
printf 'umask 077\necho -n "Gr\374\337e! "\nsetenv TMOUT 5\n' >/home/admin/.cshrc
printf 'Defaults:admin use_pty, umask=0077, umask_override, env_reset\nDefaults lecture=always\n' >/etc/sudoers.d/odd
chmod 0440 /etc/sudoers.d/odd
printf 'MaxSessions 1\nAllowTcpForwarding no\nX11Forwarding no\nAllowAgentForwarding no\nPermitTTY no\nBanner /etc/issue.net\nUseDNS yes\nMaxAuthTries 2\nClientAliveInterval 5\n' >/etc/ssh/sshd_config.d/odd.conf
systemctl restart ssh
"#;

/// root, with a shell that says much, and few sessions.
const ROOT: &str = r#"
printf 'umask 077\nexport TMOUT=5 GREP_OPTIONS=--color=always CDPATH=/\nalias sh=false\nprintf "Willkommen auf \344\366\374"\n' | tee /root/.bash_profile >/root/.bashrc
sed -i 's/MaxSessions.*/MaxSessions 3/' /etc/ssh/sshd_config; printf 'MaxSessions 3\nUsePAM yes\nPrintMotd yes\n' >/etc/ssh/sshd_config.d/odd.conf
systemctl restart ssh
"#;

/// What a person may have in their own configuration of ssh.
const CONFIG: &str = "  IgnoreUnknown UseKeychain\n  UseKeychain yes\n  RequestTTY force\n  RemoteCommand /bin/bash\n  ControlMaster auto\n  ControlPersist 60\n  ControlPath ~/odd-%r@%h\n  \
    LocalForward 127.0.0.1:22 127.0.0.1:22\n  ExitOnForwardFailure yes\n  ForwardAgent yes\n  LogLevel DEBUG\n  SendEnv LANG LC_*\n";

/// Two such hosts, as a person with such a configuration reaches them.
fn odd() -> Bed {
    let bed = Bed::boot(2);
    for host in [1, 2] {
        bed.on(host, ALL);
    }
    bed.on(1, ADMIN);
    bed.on(2, ROOT);
    let config = fs_err::read_to_string(bed.path("ssh_config")).unwrap();
    fs_err::write(bed.path("odd_config"), format!("{config}{CONFIG}")).unwrap();
    cloud(&bed, HOSTS, "");
    bed
}

/// A command of that person's.
fn command(bed: &Bed, words: &[&str]) -> Command {
    let mut command = cozy(bed, words);
    command.env("COZY_SSH_CONFIG", bed.path("odd_config"));
    command.env("LC_ALL", "de_DE.UTF-8").env("PATH", "/no where:.::/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[test]
#[ignore = "long"]
fn servers_that_are_set_up_oddly_pass() {
    let bed = odd();
    let output = command(&bed, &["preflight"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
#[ignore = "long"]
fn servers_that_are_set_up_oddly_become_a_cluster() {
    let bed = odd();
    let install = || command(&bed, &["install", "--yes", "-o", "json"]);
    // A killed run is gone on with here, too.
    let mut killed = Running::start(install());
    killed.until("waiting", "install kubelet");
    killed.kill();
    done(&install().output().unwrap());
    assert_eq!(nodes(&bed), "h1=True h2=True");
    kubectl(&bed, &["wait", "-n", "bed", "--for=condition=Complete", "job/client", "--timeout=120s"]);
    assert_eq!(written(&done(&install().output().unwrap())), 0);
    let output = command(&bed, &["uninstall", "--hosts", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let left = "ls /var/lib/cozy /etc/kubernetes /root/.kube /home/admin/.kube 2>/dev/null || true";
    assert_eq!(bed.on(1, left), "");
}

#[test]
#[ignore = "long"]
fn a_server_with_an_ipv6_address_becomes_a_cluster() {
    let bed = Bed::boot(1);
    let bridge = ["addr", "add", "fd98::1/64", "dev", "br0", "nodad"];
    assert!(bed.command("ip").args(bridge).status().unwrap().success());
    bed.on(1, "ip addr add fd98::21/64 dev host0 nodad");
    let file = cloud(&bed, "  - { address: 'fd98::21' }\n", "");
    let text = fs_err::read_to_string(&file).unwrap();
    let six = "network: { proxyMode: nftables, pods: 'fd42::/56', services: 'fd43::/112' }";
    fs_err::write(&file, text.replace("network: { proxyMode: nftables }", six)).unwrap();
    done(&cozy(&bed, &["install", "--yes", "-o", "json"]).output().unwrap());
    assert_eq!(nodes(&bed), "h1=True");
    assert_eq!(crate::members(&bed, 1), "h1 voter up");
    kubectl(&bed, &["wait", "-n", "bed", "--for=condition=Complete", "job/client", "--timeout=120s"]);
    assert_eq!(written(&done(&cozy(&bed, &["install", "--yes", "-o", "json"]).output().unwrap())), 0);
}

#[test]
fn logins_that_lead_nowhere_are_told_from_lost_connections() {
    let bed = Bed::boot(1);
    bed.on(1, "chsh -s /usr/sbin/nologin guest; echo 'Defaults:admin requiretty' >/etc/sudoers.d/tty");
    // As images of clouds have it for root.
    bed.on(
        1,
        r#"sed -i 's/^/command="echo Please login as the user debian rather than the user root.; exit 142" /' /root/.ssh/authorized_keys"#,
    );
    let says = |user: &str| {
        let file = bed.path("cozy.yaml");
        let cloud = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: bed\nbundle: edge\nhosts:\n  - {{ address: 10.98.0.21, role: server, user: {user} }}\n"
        );
        fs_err::write(&file, cloud).unwrap();
        let output = bed.cozy(&["preflight", "-f", &file, "--accept-new-host-keys", "-o", "json"]);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap();
        let found = findings.iter().find(|found| found["check"] == "ssh").unwrap();
        format!("{}\n{}", found["observed"].as_str().unwrap(), found["fix"].as_str().unwrap())
    };
    insta::assert_snapshot!(says("guest"), @"
        the login as `guest` was refused (This account is currently not available.) [C5016]
        `ssh guest@10.98.0.21` must work without a password: put your public key into its authorized_keys, load it into your agent, or set `user:` in cozy.yaml
    ");
    insta::assert_snapshot!(says("admin"), @"
        `sudo` without a password is refused for `admin`: sudo: sorry, you must have a tty to run sudo [C5018]
        commands come without a terminal: allow that there with `echo 'Defaults:admin !requiretty' > /etc/sudoers.d/admin-tty`
    ");
    insta::assert_snapshot!(says("root"), @"
        the login as `root` was refused (Please login as the user debian rather than the user root.) [C5016]
        `ssh root@10.98.0.21` must work without a password: put your public key into its authorized_keys, load it into your agent, or set `user:` in cozy.yaml
    ");
}
