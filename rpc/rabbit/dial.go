// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	hosts    []rpc.Host
	vhost    string
	options  *Options
	tls      *tls.Config
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
	batching bool // writes may be batched
	next     int  // index of the host to try
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

// dialAny tries each host once, beginning after the last one used. A host that refuses
// the login does not end the round, because each host has credentials of its own.
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
	var secured *tlsAlertConn
	if d.tls != nil {
		c := d.tls.Clone()
		c.ServerName = h.Name
		secure := tls.Client(conn, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		secured = newTLSAlertConn(secure)
		socket = secured
	}
	if d.options.HeartbeatThreshold == 0 {
		socket = newNoHeartbeatConn(socket)
	}
	socket = newBufferedConn(socket)
	var gather *batchingConn
	if d.batching {
		gather = newBatchingConn(socket)
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
	return &connection{Connection: c, socket: conn, batching: gather}, nil
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

// connectionName returns the name that operators see: <binary>:<pid>:<uuid>.
// oslo.messaging: impl_rabbit.py, client_properties
func connectionName() string {
	return filepath.Base(os.Args[0]) + ":" + strconv.Itoa(os.Getpid()) + ":" + uuid.NewString()
}

// connection is the library's connection together with its socket. The end of the
// socket ends every call on the connection, whatever that call waits for.
type connection struct {
	*amqp.Connection
	socket   net.Conn
	batching *batchingConn // nil where writes are not batched
}

// waitForRoom waits until the connection can take another message.
func (c *connection) waitForRoom(ctx context.Context) error {
	if c.batching == nil {
		return nil
	}
	return c.batching.waitForRoom(ctx)
}

// close closes the connection in good order, or at once when ctx or closeGrace is over.
func (c *connection) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.socket.Close() })()
	// Nobody uses the connection any more, so an error changes nothing.
	_ = c.Close()
}

// setUserTimeout sets for how long the peer may leave data unacknowledged before the
// kernel ends the connection; 0 leaves that to the kernel.
func (c *connection) setUserTimeout(d time.Duration) {
	if tcp, ok := c.socket.(*net.TCPConn); ok {
		setUserTimeout(tcp, d)
	}
}

// tlsVersions are the names of ssl_version; the others negotiate.
var tlsVersions = map[string]uint16{
	"TLSv1":   tls.VersionTLS10,
	"TLSv1_1": tls.VersionTLS11,
	"TLSv1_2": tls.VersionTLS12,
}

// tlsConfig returns nil when TLS is off. As in oslo.messaging, the broker is verified
// only when ssl_ca_file is set.
func tlsConfig(o *Options) (*tls.Config, error) {
	if !o.SSL {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if v, ok := tlsVersions[o.SSLVersion]; ok {
		c.MinVersion, c.MaxVersion = v, v
	}
	if (o.SSLCertFile == "") != (o.SSLKeyFile == "") {
		return nil, errors.New("ssl_cert_file and ssl_key_file need each other")
	}
	if o.SSLCertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.SSLCertFile, o.SSLKeyFile)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate: %w", err)
		}
		// The certificate is sent whatever authorities the broker names, as Python does:
		// the broker may trust the issuer without naming it, and otherwise it says why it
		// refuses.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if o.SSLCAFile == "" {
		c.InsecureSkipVerify = true
		return c, nil
	}
	pem, err := os.ReadFile(o.SSLCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading ssl_ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ssl_ca_file %s holds no certificate", o.SSLCAFile)
	}
	if !o.SSLVerifyHostname {
		c.InsecureSkipVerify = true
		c.VerifyConnection = verifyChain(c.RootCAs)
	}
	return c, nil
}

// verifyChain checks everything about the broker's certificate but its name.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the broker shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}
