// SPDX-License-Identifier: Apache-2.0

// Command karbor-protection is the protection service: it takes the requests of
// karbor-api and karborctl from RabbitMQ and protects the resources of an
// OpenStack cloud.
package main

import (
	"os"

	"github.com/karbor-project/karbor/manager/service"
)

// version is set when the program is built.
var version = "0.0.0-unknown"

func main() {
	os.Exit(service.Main(version, os.Args[1:], service.Builtin(), os.Stdout, os.Stderr))
}
