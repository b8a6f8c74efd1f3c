//! Broken files, and what is said of them: texts that others read.

use insta::assert_snapshot;

use super::cloud;

#[test]
fn broken_texts() {
    assert_snapshot!(cloud("kubernetes: { version: v9.99.0 }\nhosts: [{ local: true }]"), @"
        error[C1223]: Kubernetes v9.99.0 is not supported: this cozy knows v1.31 to v1.36
         --> cozy.yaml:5:24
          |
        5 | kubernetes: { version: v9.99.0 }
          |                        ^^^^^^^
          |
          = help: leave it out for the newest that is known
    ");
    for version in ["v1.36.3", "1.36.3", "'1.36'", "v1.36"] {
        let text = format!("kubernetes: {{ version: {version} }}\nhosts: [{{ local: true }}]");
        assert_eq!(cloud(&text), "valid", "{version}");
    }
    assert_snapshot!(cloud("kubernetes: { endpoint: 'https://a:99999/x' }\nhosts: [{ local: true }]"), @"
        error[C1224]: `https://a:99999/x` is not a name or address
         --> cozy.yaml:5:25
          |
        5 | kubernetes: { endpoint: 'https://a:99999/x' }
          |                         ^^^^^^^^^^^^^^^^^^^
          |
          = help: write it like `api.example.org`: its port is that of the servers, 6443
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.0.0.1, user: '-l root' }]"), @"
        error[C1227]: `-l root` is not a user's name
         --> cozy.yaml:5:36
          |
        5 | hosts: [{ address: 10.0.0.1, user: '-l root' }]
          |                                    ^^^^^^^^^
          |
          = help: options of SSH belong into ~/.ssh/config
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, labels: { a b: c/d e } }]"), @"
        error[C1225]: `a b` is not a label's key
         --> cozy.yaml:5:39
          |
        5 | hosts: [{ local: true, labels: { a b: c/d e } }]
          |                                       ^^^^^
          |
          = help: letters, digits, `-`, `_` and `.`, at most 63; a key may have a prefix and `/`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true, taints: ['a=b:NoShedule'] }]"), @"
        error[C1105]: entry 1 of `taints` cannot be `a=b:NoShedule`
         --> cozy.yaml:5:33
          |
        5 | hosts: [{ local: true, taints: ['a=b:NoShedule'] }]
          |                                 ^^^^^^^^^^^^^^^
          |
          = help: write `key=value:NoSchedule`, `PreferNoSchedule` or `NoExecute`
    ");
}

#[test]
fn broken_places() {
    assert_snapshot!(cloud("hosts: [{ local: true }]\nartifacts: { proxy: nope, mirror: 'file://rel' }"), @"
        error[C1226]: `nope` is not a URL that starts with http://, https://, socks5://, socks5h://
         --> cozy.yaml:6:21
          |
        6 | artifacts: { proxy: nope, mirror: 'file://rel' }
          |                     ^^^^
          |
          = help: write it like `http://proxy.example.org:3128`

        error[C1226]: `file://rel` has no absolute path: write `file:///…`
         --> cozy.yaml:6:35
          |
        6 | artifacts: { proxy: nope, mirror: 'file://rel' }
          |                                   ^^^^^^^^^^^^
          |
          = help: write it like `https://mirror.example.org/cozy`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { loadBalancer: [127.0.0.1-127.0.0.3] }"), @"
        error[C1228]: the pool 127.0.0.1-127.0.0.3: it holds the loopback addresses (127.0.0.0/8)
         --> cozy.yaml:6:27
          |
        6 | network: { loadBalancer: [127.0.0.1-127.0.0.3] }
          |                           ^^^^^^^^^^^^^^^^^^^
          |
          = help: take addresses of your network, such as `10.0.0.200-10.0.0.220`
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { pods: 'fd00::/48' }"), @"
        error[C1229]: pods and Services have addresses of different families
         --> cozy.yaml:6:10
          |
        6 | network: { pods: 'fd00::/48' }
          |          ^^^^^^^^^^^^^^^^^^^^^
          |
          = help: write both as IPv4, or both as IPv6
    ");
    assert_snapshot!(cloud("hosts: [{ local: true }]\nnetwork: { services: 10.43.0.0/32, pods: 10.42.0.0/30 }"), @"
        error[C1235]: `services` (10.43.0.0/32) must hold 16 to 1,048,576 addresses
         --> cozy.yaml:6:22
          |
        6 | network: { services: 10.43.0.0/32, pods: 10.42.0.0/30 }
          |                      ^^^^^^^^^^^^
          |
          = help: a `/16` is usual

        error[C1235]: `pods` (10.42.0.0/30) has ranges for 0 nodes, and the cloud has 1: each takes a `/24`
         --> cozy.yaml:6:42
          |
        6 | network: { services: 10.43.0.0/32, pods: 10.42.0.0/30 }
          |                                          ^^^^^^^^^^^^
          |
          = help: a `/16` is usual
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.0.0.1, port: 22.0 }]"), @r"
    error[C1108]: `port` must be a whole number, not `22.0`
     --> cozy.yaml:5:36
      |
    5 | hosts: [{ address: 10.0.0.1, port: 22.0 }]
      |                                    ^^^^
      |
      = help: write it without a decimal point
    ");
}

#[test]
fn what_does_not_fit_together() {
    assert_snapshot!(
        cloud(
            "hosts:\n  - { address: 'fd00::1', devices: [/dev, /dev/../etc, /dev/a], taints: ['a=1:NoSchedule', 'a=2:NoSchedule'] }\n  \
             - { address: 127.0.0.1 }\n  - { address: 10.0.0.3, port: 22.0 }\nnetwork: { loadBalancer: ['fd01::1-fd01::9'] }\n\
             domain: 10.0.0.1\nstorage: { replicas: 2 }\nartifacts: { registries: { 'a b': [https://c] } }\n\
             components: { cilium: { patches: [{ target: { kind: A }, patch: [{ op: ad, path: /a }] }] } }"
        ),
        @r"
        error[C1229]: the host fd00::1 is not IPv4, and pods are
         --> cozy.yaml:6:16
          |
        6 |   - { address: 'fd00::1', devices: [/dev, /dev/../etc, /dev/a], taints: ['a=1:NoSchedule', 'a=2:NoSchedule'] }
          |                ^^^^^^^^^
          |
          = help: write all addresses as IPv4, or all as IPv6

        error[C1219]: `/dev` is not a block device
         --> cozy.yaml:6:37
          |
        6 |   - { address: 'fd00::1', devices: [/dev, /dev/../etc, /dev/a], taints: ['a=1:NoSchedule', 'a=2:NoSchedule'] }
          |                                     ^^^^
          |
          = help: write its path, best one of /dev/disk/by-id

        error[C1219]: `/dev/../etc` is not a block device
         --> cozy.yaml:6:43
          |
        6 |   - { address: 'fd00::1', devices: [/dev, /dev/../etc, /dev/a], taints: ['a=1:NoSchedule', 'a=2:NoSchedule'] }
          |                                           ^^^^^^^^^^^
          |
          = help: write its path, best one of /dev/disk/by-id

        error[C1205]: the taint a=2:NoSchedule stands twice
         --> cozy.yaml:6:92
          |
        6 |   - { address: 'fd00::1', devices: [/dev, /dev/../etc, /dev/a], taints: ['a=1:NoSchedule', 'a=2:NoSchedule'] }
          |                                                                                            ^^^^^^^^^^^^^^^^
          |
          = help: a host has one taint for each key and effect

        error[C1228]: the host 127.0.0.1 cannot be reached by others: it holds the loopback addresses (127.0.0.0/8)
         --> cozy.yaml:7:16
          |
        7 |   - { address: 127.0.0.1 }
          |                ^^^^^^^^^
          |
          = help: write an address that all hosts reach; this machine is `local: true`

        error[C1108]: `port` must be a whole number, not `22.0`
         --> cozy.yaml:8:32
          |
        8 |   - { address: 10.0.0.3, port: 22.0 }
          |                                ^^^^
          |
          = help: write it without a decimal point

        error[C1229]: the pool fd01::1-fd01::9 is not IPv4, and Services are
         --> cozy.yaml:9:27
          |
        9 | network: { loadBalancer: ['fd01::1-fd01::9'] }
          |                           ^^^^^^^^^^^^^^^^^
          |
          = help: write all addresses as IPv4, or all as IPv6

        error[C1238]: `domain` is the address 10.0.0.1
          --> cozy.yaml:10:9
           |
        10 | domain: 10.0.0.1
           |         ^^^^^^^^
           |
           = help: write a name such as `cloud.example.org`: labels of at most 63 letters, digits and `-`

        error[C1237]: 2 replicas on 1 hosts with devices
          --> cozy.yaml:11:22
           |
        11 | storage: { replicas: 2 }
           |                      ^
           |
           = help: each copy of a volume is on a host of its own: name devices of more hosts, or fewer replicas

        error[C1226]: `a b` is not a registry's name
          --> cozy.yaml:12:35
           |
        12 | artifacts: { registries: { 'a b': [https://c] } }
           |                                   ^^^^^^^^^^^
           |
           = help: write it like `registry.example.org:5000`

        error[C2009]: not an operation of a JSON patch: unknown variant `ad`, expected one of `add`, `remove`, `replace`, `move`, `copy`, `test`
          --> cozy.yaml:13:66
           |
        13 | components: { cilium: { patches: [{ target: { kind: A }, patch: [{ op: ad, path: /a }] }] } }
           |                                                                  ^^^^^^^^^^^^^^^^^^^^
           |
           = help: write it like `{ op: replace, path: /spec/replicas, value: 2 }` (RFC 6902)
    "
    );
}

#[test]
fn names_and_addresses_that_cannot_be() {
    assert_snapshot!(cloud("domain: a..b\nhosts: [{ address: 10.0.0.1 }]\nkubernetes: { endpoint: '10.42.0.9' }"), @r"
    error[C1238]: `domain` is not a DNS name
     --> cozy.yaml:5:9
      |
    5 | domain: a..b
      |         ^^^^
      |
      = help: write a name such as `cloud.example.org`: labels of at most 63 letters, digits and `-`

    error[C1201]: the endpoint 10.42.0.9 is inside `pods` (10.42.0.0/16)
     --> cozy.yaml:7:25
      |
    7 | kubernetes: { endpoint: '10.42.0.9' }
      |                         ^^^^^^^^^^^
      |
      = help: give it an address of its own
    ");
}
