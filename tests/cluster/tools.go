//go:build tools

// The other programs of the test bed, so that go.mod pins them.
package main

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
