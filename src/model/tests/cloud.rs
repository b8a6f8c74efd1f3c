//! Broken files, and what is said of them: cloud.

use insta::assert_snapshot;

use super::cloud;

#[test]
fn broken_files_1() {
    assert_snapshot!(cloud("host: []"), @r"
    error[C1101]: unknown key `host`
     --> cozy.yaml:5:1
      |
    5 | host: []
      | ^^^^ did you mean `hosts`?
    ");
    assert_snapshot!(cloud("hosts: { a: 1 }"), @r"
    error[C1102]: `hosts` must be a list, not a mapping
     --> cozy.yaml:5:8
      |
    5 | hosts: { a: 1 }
      |        ^^^^^^^^
      |
      = help: write each entry on a line of its own, after `- `
    ");
    assert_snapshot!(cloud("hosts: [{ adress: 10.0.0.1 }]"), @r"
    error[C1101]: unknown key `adress`
     --> cozy.yaml:5:11
      |
    5 | hosts: [{ adress: 10.0.0.1 }]
      |           ^^^^^^ did you mean `address`?
    ");
    assert_snapshot!(cloud("hosts: [{ local: yes }]"), @r"
    error[C1102]: `local` must be true or false, not the text `yes`
     --> cozy.yaml:5:18
      |
    5 | hosts: [{ local: yes }]
      |                  ^^^
      |
      = help: write `true`
    ");
    assert_snapshot!(cloud("hosts:"), @r"
    error[C1102]: `hosts` must be a list, not empty
     --> cozy.yaml:5:6
      |
    5 | hosts:
      |      ^
      |
      = help: write each entry on a line of its own, after `- `
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, role: sever }]"), @r"
    error[C1104]: `role` cannot be `sever`
     --> cozy.yaml:5:30
      |
    5 | hosts: [{ local: true, role: sever }]
      |                              ^^^^^ did you mean `server`?
      |
      = help: one of: server, agent
    ");
}

#[test]
fn broken_files_2() {
    assert_snapshot!(cloud("hosts: [{ local: true, port: 70000 }]"), @r"
    error[C1106]: `port` is `70000`, and must be at most 65535
     --> cozy.yaml:5:30
      |
    5 | hosts: [{ local: true, port: 70000 }]
      |                              ^^^^^
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, port: 22.5 }]"), @r"
    error[C1102]: `port` must be a whole number, not the number 22.5
     --> cozy.yaml:5:30
      |
    5 | hosts: [{ local: true, port: 22.5 }]
      |                              ^^^^
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, taints: [a] }]"), @r"
    error[C1105]: entry 1 of `taints` cannot be `a`
     --> cozy.yaml:5:33
      |
    5 | hosts: [{ local: true, taints: [a] }]
      |                                 ^
      |
      = help: write `key=value:NoSchedule`, `PreferNoSchedule` or `NoExecute`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, name: Node_1 }]"), @r"
    error[C1105]: `name` cannot be `Node_1`
     --> cozy.yaml:5:30
      |
    5 | hosts: [{ local: true, name: Node_1 }]
      |                              ^^^^^^
      |
      = help: write 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit
    ");
    assert_snapshot!(cloud("kubernetes: { version: 1.36 }"), @r#"
    error[C1102]: `version` must be text, not the number 1.36
     --> cozy.yaml:5:24
      |
    5 | kubernetes: { version: 1.36 }
      |                        ^^^^
      |
      = help: quote it: "1.36"
    "#);
    assert_snapshot!(cloud("kubernetes: { version: new }"), @r"
    error[C1105]: `version` cannot be `new`
     --> cozy.yaml:5:24
      |
    5 | kubernetes: { version: new }
      |                        ^^^
      |
      = help: write a version such as `1.36` or `1.36.2`
    ");
}

#[test]
fn broken_files_3() {
    assert_snapshot!(cloud("kubernetes: { provider: k3s }"), @r"
    error[C1104]: `provider` cannot be `k3s`
     --> cozy.yaml:5:25
      |
    5 | kubernetes: { provider: k3s }
      |                         ^^^
      |
      = help: one of: kubeadm, existing
    ");
    assert_snapshot!(cloud("network: { announce: l3 }"), @r"
    error[C1104]: `announce` cannot be `l3`
     --> cozy.yaml:5:22
      |
    5 | network: { announce: l3 }
      |                      ^^ did you mean `l2`?
      |
      = help: one of: l2, bgp, none
    ");
    assert_snapshot!(cloud("network: { zzzzzzz: 1 }"), @r"
    error[C1101]: unknown key `zzzzzzz`
     --> cozy.yaml:5:12
      |
    5 | network: { zzzzzzz: 1 }
      |            ^^^^^^^
      |
      = help: known keys: announce, loadBalancer, pods, proxyMode, services
    ");
    assert_snapshot!(cloud("storage: { replicas: 0 }"), @r"
    error[C1106]: `replicas` is `0`, and must be at least 1
     --> cozy.yaml:5:22
      |
    5 | storage: { replicas: 0 }
      |                      ^
    ");
    assert_snapshot!(cloud("components: { Cilium: {} }"), @r"
    error[C1105]: `Cilium` is not a valid name in `components`
     --> cozy.yaml:5:15
      |
    5 | components: { Cilium: {} }
      |               ^^^^^^
      |
      = help: names are 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit
    ");
    assert_snapshot!(cloud("components: { cilium: { enable: true } }"), @r"
    error[C1101]: unknown key `enable`
     --> cozy.yaml:5:25
      |
    5 | components: { cilium: { enable: true } }
      |                         ^^^^^^ did you mean `enabled`?
    ");
}

#[test]
fn broken_files_4() {
    assert_snapshot!(cloud("components: { cilium: { patches: [{ patch: [] }] } }"), @r"
    error[C1103]: entry 1 of `patches` lacks the key `target`
     --> cozy.yaml:5:35
      |
    5 | components: { cilium: { patches: [{ patch: [] }] } }
      |                                   ^^^^^^^^^^^^^
      |
      = help: `target`: which objects
    ");
    assert_snapshot!(cloud("domain: Cloud_1"), @r"
    error[C1105]: `domain` cannot be `Cloud_1`
     --> cozy.yaml:5:9
      |
    5 | domain: Cloud_1
      |         ^^^^^^^
      |
      = help: write a DNS name in lower case
    ");
    assert_snapshot!(cloud("version: ''"), @r"
    error[C1107]: `version` must not be empty
     --> cozy.yaml:5:10
      |
    5 | version: ''
      |          ^^
    ");
    assert_snapshot!(cloud("hosts: []"), @r"
    error[C1206]: the cloud has no server
     --> cozy.yaml:5:8
      |
    5 | hosts: []
      |        ^^
      |
      = help: give at least one host, or set `kubernetes.provider: existing`
    ");
    assert_snapshot!(cloud("hosts: [{ role: server }]"), @r"
    error[C1204]: the host has no address
     --> cozy.yaml:5:9
      |
    5 | hosts: [{ role: server }]
      |         ^^^^^^^^^^^^^^^^
      |
      = help: write `address:`, or `local: true` for this machine
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, address: 10.0.0.1 }]"), @r"
    error[C1204]: the host has an address and is local
     --> cozy.yaml:5:9
      |
    5 | hosts: [{ local: true, address: 10.0.0.1 }]
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: keep one of `address` and `local`
    ");
}

#[test]
fn broken_files_5() {
    assert_snapshot!(cloud("hosts: [{ local: true }, { local: true }, { address: 10.0.0.1 }]"), @r"
    error[C1205]: this machine is already host 1
     --> cozy.yaml:5:26
      |
    5 | hosts: [{ local: true }, { local: true }, { address: 10.0.0.1 }]
      |                          ^^^^^^^^^^^^^^^
      |
      = help: each host stands once
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.0.0.1 }, { address: 10.0.0.1 }]"), @r"
    error[C1205]: 10.0.0.1 is already host 1
     --> cozy.yaml:5:43
      |
    5 | hosts: [{ address: 10.0.0.1 }, { address: 10.0.0.1 }]
      |                                           ^^^^^^^^
      |
      = help: each host stands once
    ");
    assert_snapshot!(cloud("hosts: [{ address: '::1' }, { address: '0::1' }]"), @r"
    error[C1228]: the host ::1 cannot be reached by others: it holds the loopback address (::1/128)
     --> cozy.yaml:5:20
      |
    5 | hosts: [{ address: '::1' }, { address: '0::1' }]
      |                    ^^^^^
      |
      = help: write an address that all hosts reach; this machine is `local: true`

    error[C1205]: 0::1 is already host 1
     --> cozy.yaml:5:40
      |
    5 | hosts: [{ address: '::1' }, { address: '0::1' }]
      |                                        ^^^^^^
      |
      = help: each host stands once

    error[C1228]: the host 0::1 cannot be reached by others: it holds the loopback address (::1/128)
     --> cozy.yaml:5:40
      |
    5 | hosts: [{ address: '::1' }, { address: '0::1' }]
      |                                        ^^^^^^
      |
      = help: write an address that all hosts reach; this machine is `local: true`
    ");
    assert_snapshot!(cloud("hosts: [{ address: a, name: x }, { address: b, name: x }]"), @r"
    error[C1205]: `x` is already the name of host 1
     --> cozy.yaml:5:54
      |
    5 | hosts: [{ address: a, name: x }, { address: b, name: x }]
      |                                                      ^
      |
      = help: each host has a name of its own
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.0.0.300 }]"), @r"
    error[C1217]: `10.0.0.300` is neither an IP address nor a DNS name
     --> cozy.yaml:5:20
      |
    5 | hosts: [{ address: 10.0.0.300 }]
      |                    ^^^^^^^^^^
      |
      = help: write it like `10.0.0.11` or `node-1.example.org`
    ");
    assert_snapshot!(cloud("hosts: [{ address: a, role: server }, { address: b, role: server }]"), @r"
    error[C1207]: the cloud has 2 servers, an even number
     --> cozy.yaml:5:8
      |
    5 | hosts: [{ address: a, role: server }, { address: b, role: server }]
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: etcd keeps a quorum with an odd number: 2 servers survive no more failures than 1
    ");
}

#[test]
fn broken_files_6() {
    assert_snapshot!(cloud("hosts: [{ local: true, devices: [/dev/sda, /dev/sda, sdb] }]"), @r"
    error[C1205]: the device /dev/sda stands twice
     --> cozy.yaml:5:44
      |
    5 | hosts: [{ local: true, devices: [/dev/sda, /dev/sda, sdb] }]
      |                                            ^^^^^^^^
      |
      = help: each device stands once

    error[C1219]: `sdb` is not a block device
     --> cozy.yaml:5:54
      |
    5 | hosts: [{ local: true, devices: [/dev/sda, /dev/sda, sdb] }]
      |                                                      ^^^
      |
      = help: write its path, best one of /dev/disk/by-id
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { pods: 10.43.0.0/16 }"), @r"
    error[C1201]: `services` (10.43.0.0/16) overlaps `pods` (10.43.0.0/16)
     --> cozy.yaml:6:10
      |
    6 | network: { pods: 10.43.0.0/16 }
      |          ^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: give each network a range of its own
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { pods: 10.42.0.1/16 }"), @r"
    error[C1202]: `pods`: `10.42.0.1/16` has host bits set: an address of a network ends in zeros there
     --> cozy.yaml:6:18
      |
    6 | network: { pods: 10.42.0.1/16 }
      |                  ^^^^^^^^^^^^
      |
      = help: write a CIDR such as `10.42.0.0/16`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { services: 10.43.0.0/40 }"), @r"
    error[C1202]: `services`: a prefix length is 0 to 32
     --> cozy.yaml:6:22
      |
    6 | network: { services: 10.43.0.0/40 }
      |                      ^^^^^^^^^^^^
      |
      = help: write a CIDR such as `10.42.0.0/16`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { loadBalancer: [10.0.0.9-10.0.0.1] }"), @r"
    error[C1203]: `loadBalancer`: the range is reversed: write `10.0.0.1-10.0.0.9`
     --> cozy.yaml:6:27
      |
    6 | network: { loadBalancer: [10.0.0.9-10.0.0.1] }
      |                           ^^^^^^^^^^^^^^^^^
      |
      = help: write `10.0.0.200-10.0.0.220` or a CIDR
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { loadBalancer: [10.0.0.1-::1] }"), @r"
    error[C1203]: `loadBalancer`: a range is either IPv4 or IPv6
     --> cozy.yaml:6:27
      |
    6 | network: { loadBalancer: [10.0.0.1-::1] }
      |                           ^^^^^^^^^^^^
      |
      = help: write `10.0.0.200-10.0.0.220` or a CIDR
    ");
}

#[test]
fn broken_files_7() {
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { loadBalancer: [10.0.0.1-10.0.0.9, 10.0.0.5/32] }"), @r"
    error[C1201]: the pool 10.0.0.5/32 overlaps the pool 10.0.0.1-10.0.0.9
     --> cozy.yaml:6:46
      |
    6 | network: { loadBalancer: [10.0.0.1-10.0.0.9, 10.0.0.5/32] }
      |                                              ^^^^^^^^^^^
      |
      = help: give each network a range of its own
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.42.0.5 }]"), @r"
    error[C1201]: the host 10.42.0.5 is inside `pods` (10.42.0.0/16)
     --> cozy.yaml:5:20
      |
    5 | hosts: [{ address: 10.42.0.5 }]
      |                    ^^^^^^^^^
      |
      = help: give each network a range of its own
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nversion: new"), @r"
    error[C1210]: `new` is not a version
     --> cozy.yaml:6:10
      |
    6 | version: new
      |          ^^^
      |
      = help: write it like `0.1.0`, or leave it out
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { cillium: {} }"), @r"
    error[C1209]: there is no component `cillium`
     --> cozy.yaml:6:15
      |
    6 | components: { cillium: {} }
      |               ^^^^^^^ did you mean `cilium`?
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { cilium: { settings: { hubbel: true } } }"), @r"
    error[C1101]: unknown key `hubbel`
     --> cozy.yaml:6:37
      |
    6 | components: { cilium: { settings: { hubbel: true } } }
      |                                     ^^^^^^ did you mean `hubble`?
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { cilium: { settings: { hubble: 3 } } }"), @r"
    error[C1102]: `hubble` must be true or false, not the number 3
     --> cozy.yaml:6:45
      |
    6 | components: { cilium: { settings: { hubble: 3 } } }
      |                                             ^
    ");
}

#[test]
fn broken_files_8() {
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { cilium: { settings: { password: hunter2 } } }"), @r"
    error[C1102]: `password` is a secret, which cannot stand here itself
     --> cozy.yaml:6:47
      |
    6 | components: { cilium: { settings: { password: ******* } } }
      |                                               ^^^^^^^
      |
      = help: write `password: { env: NAME }` or `password: { file: PATH }`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { cilium: { settings: { password: { evn: A } } } }"), @r"
    error[C1101]: unknown key `evn`
     --> cozy.yaml:6:49
      |
    6 | components: { cilium: { settings: { password: { evn: * } } } }
      |                                                 ^^^ did you mean `env`?
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { plain: { enabled: true, settings: { a: 1 } } }"), @r"
    error[C1101]: component `plain` has no settings
     --> cozy.yaml:6:49
      |
    6 | components: { plain: { enabled: true, settings: { a: 1 } } }
      |                                                 ^^^^^^^^
      |
      = help: take them out
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\ncomponents: { strict: { enabled: true } }"), @r"
    error[C1103]: component `strict` lacks the setting `email`
     --> cozy.yaml:6:23
      |
    6 | components: { strict: { enabled: true } }
      |                       ^^^^^^^^^^^^^^^^^
      |
      = help: `cozy component show strict` explains it
    ");
}
