// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

const (
	// handshakeTimeout bounds dialling and login of one host.
	handshakeTimeout = 15 * time.Second
	// frameMax and channelMax are what py-amqp offers.
	frameMax   = 131072
	channelMax = 2047
)

// dialer opens connections to the hosts of a transport URL in turn.
type dialer struct {
	hosts   []rpc.Host
	vhost   string
	options *Options
	tls     *tls.Config
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	gather  bool // writes may be gathered
	next    int  // index of the host to try
}

// newDialer shuffles the hosts once, as oslo.messaging does for each connection.
func newDialer(u *rpc.TransportURL, o *Options, t *tls.Config) *dialer {
	d := &dialer{hosts: u.Brokers(), vhost: u.VirtualHost, options: o, tls: t, connect: new(net.Dialer).DialContext}
	d.shuffle()
	return d
}

func (d *dialer) shuffle() {
	rand.Shuffle(len(d.hosts), func(i, j int) { d.hosts[i], d.hosts[j] = d.hosts[j], d.hosts[i] })
}

// dialAny tries each host once, beginning behind the one used last. Each has
// credentials of its own, so that one that refuses says nothing of the others.
func (d *dialer) dialAny(ctx context.Context) (*connection, error) {
	if d.options.FailoverStrategy == "shuffle" && d.next > 0 {
		d.shuffle()
	}
	var errs []error
	for range d.hosts {
		h := d.hosts[d.next%len(d.hosts)]
		d.next++
		c, err := d.dial(ctx, h)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("connecting to %s as %s, virtual host %s: %w", h.Address(), h.User, d.vhost, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (d *dialer) dial(ctx context.Context, h rpc.Host) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := d.connect(ctx, "tcp", h.Address())
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		setUserTimeout(tcp, answerTime)
	}
	// The handshake knows no context: end it by closing the socket.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	socket := conn
	var secured *alerted
	if d.tls != nil {
		c := d.tls.Clone()
		c.ServerName = h.Name
		secure := tls.Client(conn, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		secured = newAlerted(secure)
		socket = secured
	}
	if d.options.HeartbeatThreshold == 0 {
		socket = newUnbeaten(socket)
	}
	socket = newReading(socket)
	var gather *gatherer
	if d.gather {
		gather = newGatherer(socket)
		socket = gather
	}
	c, err := amqp.Open(socket, d.config(h))
	if err != nil {
		if secured != nil {
			err = secured.explain(err)
		}
		_ = socket.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("AMQP handshake: %w", ctx.Err())
		}
		return nil, fmt.Errorf("AMQP handshake: %w", err)
	}
	return &connection{Connection: c, socket: conn, gather: gather}, nil
}

// config is made anew for each connection: the library clears the password and
// keeps the properties.
func (d *dialer) config(h rpc.Host) amqp.Config {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(connectionName())
	return amqp.Config{
		SASL:       []amqp.Authentication{d.login(h)},
		Vhost:      d.vhost,
		ChannelMax: channelMax,
		FrameSize:  frameMax,
		Heartbeat:  time.Duration(d.options.HeartbeatThreshold) * time.Second,
		Locale:     "en_US",
		Properties: properties,
	}
}

func (d *dialer) login(h rpc.Host) amqp.Authentication {
	switch d.options.LoginMethod {
	case "EXTERNAL":
		return &amqp.ExternalAuth{}
	case "PLAIN":
		return &amqp.PlainAuth{Username: h.User, Password: h.Password}
	default:
		return &amqp.AMQPlainAuth{Username: h.User, Password: h.Password}
	}
}

// connectionName is what operators see: <binary>:<pid>:<uuid>.
// oslo.messaging: impl_rabbit.py, client_properties
func connectionName() string {
	return filepath.Base(os.Args[0]) + ":" + strconv.Itoa(os.Getpid()) + ":" + uuid.NewString()
}
