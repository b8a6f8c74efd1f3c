//! What is remembered of a host, and what is taken away: the scripts, run on a host that is a folder.

use super::super::scripts;
use super::super::scripts_tests::Host;
use super::*;

#[test]
fn a_clean_that_is_killed_leaves_a_host_that_can_join_anew() {
    let systemctl =
        "case \"$*\" in show*) echo inactive ;; 'disable -q --now kubelet') kill -KILL $PPID ;; esac";
    let host = Host::new(&[("systemctl", systemctl)]);
    host.write("cozy/host", "demo\n");
    host.write("cozy/joined", "agent h4 10.0.0.14\n");
    host.write("cozy/artifacts/containerd", "a digest\n");
    let stop = |cloud: &str| host.run(&format!("{}\n{SERVICES}", guard(cloud, "10.42.0.0/16")));
    assert!(stop("other").status.success() && host.path("cozy/joined").exists());
    assert!(!stop("demo").status.success());
    assert!(!host.path("cozy/joined").exists() && !host.path("cozy/artifacts").exists());
    assert_eq!(host.run(&scripts::joining()).stdout, b"begun\n");
    assert_eq!(host.read("cozy/host"), "demo\n");
}

#[test]
fn whose_host_it_is_is_known_before_anything_else() {
    let host = Host::new(&[("systemctl", "kill -KILL $PPID")]);
    assert!(!host.run(&remember("demo")).status.success());
    assert_eq!(host.read("cozy/host"), "demo\n");
    assert!(!host.path("cozy/before").exists());
}

#[test]
fn what_came_back_is_not_taken_away_by_the_next_run() {
    let find = "exec /usr/bin/find \"$@\"";
    let killed = "case $* in *maxdepth*) rm -r $PLACE/cozy/saved; kill -KILL $PPID; exit ;; esac";
    let host = Host::new(&[("systemctl", ""), ("find", &format!("{killed}\n{find}"))]);
    let file = host.write("etc/file", "cozy's");
    let file = file.to_str().unwrap();
    host.write("cozy/host", "demo\n");
    host.write("cozy/before", "end\n");
    // What cozy keeps for itself is no file that was there.
    host.write("cozy/placed", &format!("{}\n{file}\n", host.path("cozy/host").display()));
    host.write(&format!("cozy/saved{file}"), "the user's");
    let clean = format!("{}\n{}", guard("demo", "10.42.0.0/16"), files("", ""));
    assert!(!host.run(&clean).status.success());
    assert_eq!(
        (host.read("etc/file"), host.read("cozy/host")),
        ("the user's".to_owned(), "demo\n".to_owned())
    );
    host.program("find", find);
    assert!(host.run(&clean).status.success());
    assert_eq!(host.read("etc/file"), "the user's");
    assert!(!host.path("cozy").exists());
}

#[test]
fn of_a_folder_that_was_there_goes_what_is_new_and_that_as_a_whole() {
    let rm = "printf '%s\\n' \"$*\" >>$PLACE/removed\nexec /bin/rm \"$@\"";
    let host = Host::new(&[("systemctl", ""), ("rm", rm)]);
    let place = host.path("disk");
    let place = place.to_str().unwrap();
    let kept = ["disk/kept/a  b\\nc", "disk/file"];
    let new =
        ["disk/kept/ new\\tfile", "disk/other/deep/x", "disk/other/deep/y", "disk/other/z", "disk/.hidden/y"];
    for name in kept.iter().chain(&new) {
        host.write(name, "");
    }
    let there = format!("asked {place}\nthere {place}\nthere {place}/kept\n");
    let there = there + &kept.map(|name| format!("there {}\n", host.path(name).display())).concat();
    host.write("cozy/host", "demo\n");
    host.write("cozy/before", &format!("{there}end\n"));
    let output = host.run(&format!("{}\n{}", guard("demo", "10.42.0.0/16"), files(place, "")));
    assert!(output.status.success(), "{output:?}");
    let left = |names: &[&str]| names.iter().filter(|name| host.path(name).exists()).count();
    assert_eq!((left(&kept), left(&new)), (2, 0));
    assert!(!host.path("disk/other").exists() && !host.path("disk/.hidden").exists());
    let removed = host.read("removed");
    assert_eq!(removed.matches(place).count(), 3, "{removed}");
}

/// Takes folders away from a host of which `before` is known.
fn taken(host: &Host, before: &str, folders: &str, shared: &str) {
    host.write("cozy/host", "demo\n");
    host.write("cozy/before", &format!("{before}end\n"));
    let output = host.run(&format!("{}\n{}", guard("demo", "10.42.0.0/16"), files(folders, shared)));
    assert!(output.status.success(), "{output:?}");
}

/// Found by review: folders that came to the list later were taken for new on hosts of earlier builds.
#[test]
fn what_a_list_was_not_asked_for_stays() {
    let host = Host::new(&[("systemctl", "")]);
    let (first, later) = (host.path("kubernetes"), host.path("later"));
    let folders = format!("{} {}", first.display(), later.display());
    for (asked, left) in [(String::new(), true), (folders.clone(), false)] {
        host.write("kubernetes/file", "");
        host.write("later/file", "");
        let asked = asked.split_whitespace().map(|folder| format!("asked {folder}\n"));
        taken(&host, &asked.collect::<String>(), &folders, "");
        assert!(!first.exists(), "all lists say whether /etc/kubernetes was there");
        assert_eq!(later.exists(), left);
    }
    for folder in FIRST.split_whitespace() {
        assert!(FOLDERS.split_whitespace().any(|one| one == folder), "{folder}");
    }
}

/// Found by review: kubeconfigs that somebody put there after the install were deleted.
#[test]
fn kubeconfigs_of_root_stay() {
    let host = Host::new(&[("systemctl", "")]);
    let of = |all: &'static str| all.split_whitespace().filter(|one| one.starts_with("/root/"));
    let (folders, shared) = (of(FOLDERS).collect::<Vec<_>>(), of(SHARED).collect::<Vec<_>>());
    let asked = format!("asked {}\n", host.path("kube/cache").display());
    for name in ["kube/config", "kube/cache/http/a"] {
        host.write(name, "");
    }
    taken(&host, &asked, &folders.join(" "), &shared.join(" "));
    assert!(host.path("kube/config").exists() && !host.path("kube/cache").exists());
    fs_err::remove_file(host.path("kube/config")).unwrap();
    taken(&host, &asked, &folders.join(" "), &shared.join(" "));
    assert!(!host.path("kube").exists());
}

/// Found by review: `rm` of a mount point failed, at every run.
#[test]
fn a_folder_that_became_a_mount_is_emptied() {
    let host = Host::new(&[("systemctl", ""), ("mountpoint", "")]);
    for name in ["disk/content/a", "disk/lost+found/b"] {
        host.write(name, "");
    }
    let disk = host.path("disk");
    let disk = disk.to_str().unwrap();
    taken(&host, &format!("asked {disk}\n"), disk, "");
    assert!(!host.path("disk/content").exists() && host.path("disk/lost+found/b").exists());
}

/// Found by review: of a folder that is a link nothing was listed, and nothing removed.
#[test]
fn what_a_link_leads_to_is_cleaned_where_it_is_known() {
    let host = Host::new(&[("systemctl", "")]);
    let link = host.path("kubernetes");
    let name = link.display();
    host.write("data/kept", "");
    std::os::unix::fs::symlink(host.path("data"), &link).unwrap();
    let new = || host.path("data/new").exists();
    let listed = format!("there {name}\nthere {name}/kept\n");
    // Lists of the first builds end at links: what is behind one may have been there.
    for (before, goes) in [(format!("there {name}\n"), false), (format!("asked {name}\n{listed}"), true)] {
        host.write("data/new", "");
        taken(&host, &before, link.to_str().unwrap(), "");
        assert!(link.exists() && host.path("data/kept").exists());
        assert_eq!(new(), !goes, "{before}");
    }
    // Of a link that came later nobody listed what was behind it.
    host.write("data/new", "");
    taken(&host, &format!("asked {name}\nthere {name}/kept\n"), link.to_str().unwrap(), "");
    assert!(!link.is_symlink() && host.path("data/kept").exists() && new());
}

/// Found by review: it was deleted, as what is new.
#[test]
fn a_file_of_another_pod_network_that_cilium_set_aside_comes_back() {
    let host = Host::new(&[("systemctl", "")]);
    let (folder, file) = (host.path("cni/net.d"), host.path("cni/net.d/87-podman.conflist"));
    host.write("cni/net.d/87-podman.conflist.cilium_bak", "podman's");
    host.write("cni/net.d/05-cilium.conflist", "");
    let all = [folder.parent().unwrap(), &folder, &file].map(|path| format!("there {}\n", path.display()));
    let asked = format!("asked {}\n", folder.display());
    taken(&host, &(asked + &all.concat()), folder.to_str().unwrap(), "");
    assert_eq!(host.read("cni/net.d/87-podman.conflist"), "podman's");
    assert_eq!(fs_err::read_dir(folder).unwrap().count(), 1);
}

/// Found by review: with IPv6 pods, Cilium's rules and routes stayed; settings of interfaces come back, too.
#[test]
fn rules_of_both_families_go_and_settings_come_back() {
    let ip = r#"echo "$*" >>$PLACE/asked
case "$*" in
  '-6 rule') [ -e $PLACE/gone ] || echo '9: from all fwmark 0x200/0xf00 lookup 2004'; echo '100: from all lookup local' ;;
  '-6 rule del lookup 2004') touch $PLACE/gone ;;
esac"#;
    let host = Host::new(&[("ip", ip), ("tc", "")]);
    host.write("proc/net/ipv6/conf/eth0/accept_ra", "2\n");
    host.write("before", "setting net/ipv6/conf/eth0/accept_ra 1\n");
    host.run(&format!("before=$PLACE/before pods=fd42::/56\n{}", NETWORK.replace("@LINKS@", "")));
    let asked = host.read("asked");
    for done in [
        "-6 rule add pref 0 lookup local",
        "-6 rule del pref 100 lookup local",
        "-6 rule del lookup 2004",
        "-4 route flush table 2004",
        "-6 route flush table 2005",
    ] {
        assert!(asked.lines().any(|line| line == done), "{done} is not in {asked}");
    }
    assert_eq!(host.read("proc/net/ipv6/conf/eth0/accept_ra"), "1\n");
    assert!(host.path("gone").exists());
}

/// Interfaces are not known beforehand.
#[test]
fn settings_of_all_interfaces_are_remembered() {
    let host = Host::new(&[("systemctl", ""), ("nft", ""), ("ip", ""), ("find", "")]);
    host.write("proc/net/ipv6/conf/eth0/accept_ra", "1\n");
    host.write("proc/kernel/timer_migration", "1\n");
    host.run(&remember("demo"));
    let before = host.read("cozy/before");
    for line in ["setting net/ipv6/conf/eth0/accept_ra 1", "setting kernel/timer_migration 1", "end"] {
        assert!(before.lines().any(|known| known == line), "{line} is not in {before}");
    }
    assert!(before.contains(&format!("asked {}\n", host.path("kubernetes").display())), "{before}");
}

#[test]
fn what_was_there_is_not_known_and_nothing_but_what_was_put_there_goes() {
    let host = Host::new(&[("systemctl", "")]);
    host.write("cozy/host", "demo\n");
    host.write("disk/file", "");
    let disk = host.path("disk");
    let clean = format!("{}\n{}", guard("demo", "10.42.0.0/16"), files(disk.to_str().unwrap(), ""));
    assert!(host.run(&clean).status.success());
    assert!(host.path("disk/file").exists());
}

#[test]
fn rules_of_others_are_given_back_as_they_were() {
    let rule = r#"-A INPUT -m comment --comment "a\tb\\n\c\\" -j ACCEPT"#;
    let save = format!("printf '%s\\n' '*filter' '-A INPUT -j KUBE-FIREWALL' '{rule}' COMMIT");
    let host = Host::new(&[
        ("nft", ""),
        ("iptables-save", &save),
        ("iptables-restore", "cat >$PLACE/restored"),
        ("ip6tables-save", ""),
    ]);
    host.run(&format!("before=/dev/null\n{FIREWALL}"));
    assert_eq!(host.read("restored"), format!("*filter\n{rule}\nCOMMIT\n"));
}

#[test]
fn an_archive_goes_once_its_files_are_on_the_disk() {
    let sync = "echo \"$*$(cat $PLACE/into/file && [ -e $PLACE/a.tgz ] && echo ' archive')\" >>$PLACE/synced";
    let host = Host::new(&[("sync", sync)]);
    host.write("made/file", " file");
    host.run("tar -czf $PLACE/a.tgz -C $PLACE/made ./file");
    let (archive, into) = (host.path("a.tgz"), host.path("into"));
    let output = host.run(&unpack(archive.to_str().unwrap(), into.to_str().unwrap()));
    assert!(output.status.success(), "{output:?}");
    assert!(!archive.exists() && host.path("into/file").exists());
    let synced = host.read("synced");
    assert!(synced.ends_with(&format!("-f {} file archive\n", into.display())), "{synced}");
}

#[test]
fn a_file_that_is_not_wanted_any_more_makes_way_for_what_stood_there() {
    let host = Host::new(&[]);
    let (own, other) =
        (host.write("certs/own/hosts.toml", "cozy's"), host.write("certs/other/hosts.toml", "cozy's"));
    host.write(&format!("cozy/saved{}", other.display()), "the user's");
    for path in [&own, &other] {
        assert!(host.run(&take_back(path.to_str().unwrap())).status.success());
    }
    assert!(!host.path("certs/own").exists());
    assert_eq!(host.read("certs/other/hosts.toml"), "the user's");
}
