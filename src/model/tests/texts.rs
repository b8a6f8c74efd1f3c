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
    assert_snapshot!(cloud("kubernetes: { version: 1.36.3 }\nhosts: [{ local: true }]"), @"
        error[C1223]: `1.36.3` is not a version of Kubernetes, such as `v1.36.0`
         --> cozy.yaml:5:24
          |
        5 | kubernetes: { version: 1.36.3 }
          |                        ^^^^^^
          |
          = help: leave it out for the newest that is known
    ");
    assert_snapshot!(cloud("kubernetes: { endpoint: 'https://a:99999/x' }\nhosts: [{ local: true }]"), @"
        error[C1224]: `https://a:99999/x` has no port from 1 to 65535
         --> cozy.yaml:5:25
          |
        5 | kubernetes: { endpoint: 'https://a:99999/x' }
          |                         ^^^^^^^^^^^^^^^^^^^
          |
          = help: write it like `api.example.org:6443`
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
        error[C1230]: `services` (10.43.0.0/32) must hold 16 to 1,048,576 addresses
         --> cozy.yaml:6:22
          |
        6 | network: { services: 10.43.0.0/32, pods: 10.42.0.0/30 }
          |                      ^^^^^^^^^^^^
          |
          = help: a `/16` is usual

        error[C1230]: `pods` (10.42.0.0/30) has ranges for 0 nodes, and the cloud has 1: each takes a `/24`
         --> cozy.yaml:6:42
          |
        6 | network: { services: 10.43.0.0/32, pods: 10.42.0.0/30 }
          |                                          ^^^^^^^^^^^^
          |
          = help: a `/16` is usual
    ");
    assert_snapshot!(cloud("hosts: [{ address: 10.0.0.1, port: 22.0 }]"), @"
        error[C1108]: invalid type: floating point `22.0`, expected u16
         --> cozy.yaml:5:36
          |
        5 | hosts: [{ address: 10.0.0.1, port: 22.0 }]
          |                                    ^^^^
    ");
}
