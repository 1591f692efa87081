// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	loopback = "127.0.0.1"
	patience = time.Minute // for etcd to become the leader of itself
)

func endpoint(port int) string { return fmt.Sprintf("http://%s:%d", loopback, port) }

// startEtcd starts a cluster of one member, with clients at a port and peers, who
// never come, at the next one. Its data need not outlive a crash of the machine.
func startEtcd(dir string, port int) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir, config.LogLevel = dir, "warn"
	config.UnsafeNoFsync = true
	clients, peers := url.URL{Scheme: "http", Host: endpoint(port)[len("http://"):]}, url.URL{Scheme: "http", Host: endpoint(port + 1)[len("http://"):]}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	store, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-store.Server.ReadyNotify():
		return store, nil
	case err = <-store.Err():
	case <-time.After(patience):
		err = errors.New("not ready after " + patience.String())
	}
	store.Close()
	return nil, err
}
