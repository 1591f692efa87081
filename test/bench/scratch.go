// SPDX-License-Identifier: Apache-2.0

package main

// mariadb is the environment variable with the URL of a database on the server
// to measure with.
const mariadb = "KARBOR_TEST_MYSQL"
