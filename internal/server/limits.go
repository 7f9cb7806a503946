package server

import (
	"container/list"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Limits bounds what clients may take from the server. Zero fields take the value of
// [DefaultLimits].
type Limits struct {
	Connections int // open at once; a further one takes the place of one that is silent, or waits
	Uploads     int // in progress at once; further ones are answered 503

	HeaderBytes int   // of a request's line and headers
	Request     int64 // bytes of an upload's body: the largest file and its form
	Fields      int   // parts of an upload's form
	FieldName   int   // bytes of a field's name
	FieldBytes  int64 // of all field values of an upload together
	PartHeader  int64 // bytes of the headers of one part

	HeaderTime   time.Duration // until a request's headers are here
	IdleTime     time.Duration // a connection may wait between requests
	RequestTime  time.Duration // for a whole request or answer, plus what MinRate gives it
	MinRate      int64         // bytes a second that uploads and downloads reach on average
	ShutdownTime time.Duration // for requests in progress when the server stops
}

// DefaultLimits is made for an index with files of up to 100 MiB.
func DefaultLimits() Limits {
	return Limits{
		Connections: 4096, Uploads: 256,
		HeaderBytes: 32 << 10, Request: 108 << 20, Fields: 4096, FieldName: 128, FieldBytes: 4 << 20, PartHeader: 8 << 10,
		HeaderTime: 10 * time.Second, IdleTime: 2 * time.Minute, RequestTime: time.Minute, MinRate: 16 << 10,
		ShutdownTime: 20 * time.Second,
	}
}

// withDefaults fills in what was left open.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.Connections, d.Connections)
	fill(&l.Uploads, d.Uploads)
	fill(&l.HeaderBytes, d.HeaderBytes)
	fill(&l.Request, d.Request)
	fill(&l.Fields, d.Fields)
	fill(&l.FieldName, d.FieldName)
	fill(&l.FieldBytes, d.FieldBytes)
	fill(&l.PartHeader, d.PartHeader)
	fill(&l.HeaderTime, d.HeaderTime)
	fill(&l.IdleTime, d.IdleTime)
	fill(&l.RequestTime, d.RequestTime)
	fill(&l.MinRate, d.MinRate)
	fill(&l.ShutdownTime, d.ShutdownTime)
	return l
}

func fill[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

// allowed is how long size bytes may take at the slowest rate that is tolerated.
func (l *Limits) allowed(size int64) time.Duration {
	return l.RequestTime + time.Duration(float64(size)/float64(l.MinRate)*float64(time.Second))
}

// limitListener holds back new connections while too many are open. Unlike a limit on requests, it
// also bounds the memory of connections that send nothing. Those make room for new ones, the longest
// silent first: whoever opens thousands and leaves them open does not keep anybody else out.
type limitListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	silent list.List                  // of net.Conn, the longest silent first
	places map[net.Conn]*list.Element // theirs
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, slots: make(chan struct{}, n), done: make(chan struct{}), places: make(map[net.Conn]*list.Element)}
}

// Accept waits for a connection, then makes room for it or waits for a slot.
func (l *limitListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for taken := false; !taken; {
		select {
		case l.slots <- struct{}{}:
			taken = true
			continue
		default:
		}
		if l.closeSilent() {
			continue
		}
		select {
		case l.slots <- struct{}{}:
			taken = true
		case <-l.done:
			_ = conn.Close() // nobody has been told anything on it
			return nil, net.ErrClosed
		}
	}
	release := sync.OnceFunc(func() { <-l.slots })
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &slotTCP{TCPConn: tcp, release: release}, nil
	}
	return &slotConn{Conn: conn, release: release}, nil
}

// closeSilent closes the connection that has been silent for longest, and reports whether there was
// one. Its slot is free then.
func (l *limitListener) closeSilent() bool {
	l.mu.Lock()
	first := l.silent.Front()
	if first == nil {
		l.mu.Unlock()
		return false
	}
	conn := l.silent.Remove(first).(net.Conn) //nolint:forcetypeassert // nothing else is put in
	delete(l.places, conn)
	l.mu.Unlock()
	_ = conn.Close() // its client finds out when it next sends something
	return true
}

// observe is told by net/http what each connection does.
func (l *limitListener) observe(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.places[conn]; at != nil {
		l.silent.Remove(at)
		delete(l.places, conn)
	}
	if state == http.StateNew || state == http.StateIdle {
		l.places[conn] = l.silent.PushBack(conn)
	}
}

// Close ends Accept, also one that waits for a slot.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// slotTCP gives its slot back on Close. It embeds the concrete type, so that files still go out
// through sendfile and a refused upload can be half closed.
type slotTCP struct {
	*net.TCPConn
	release func()
}

func (c *slotTCP) Close() error {
	err := c.TCPConn.Close()
	c.release()
	return err
}

type slotConn struct {
	net.Conn
	release func()
}

func (c *slotConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// uploadBody is a request body that has to keep coming: what has arrived so far buys time for the
// rest. It remembers the client's failures, so that they are never taken for the server's.
type uploadBody struct {
	r      io.Reader
	ctl    *http.ResponseController
	limits *Limits
	start  time.Time
	read   int64
	until  time.Time // the deadline in force
	err    error     // first error other than the end of the body
}

func newUploadBody(w http.ResponseWriter, r *http.Request, limits *Limits) *uploadBody {
	start := time.Now() //nolint:forbidigo // deadlines of sockets follow the system's clock
	return &uploadBody{r: r.Body, ctl: http.NewResponseController(w), limits: limits, start: start}
}

// drain takes the rest of an upload that is answered without package problem, within the same bounds
// as the upload itself: most clients send everything before they read.
func (b *uploadBody) drain() {
	_, _ = io.CopyN(io.Discard, b, b.limits.Request) // whatever happens, the answer comes next
}

// Read moves the deadline by what has arrived. Writers that have no deadline (tests without a
// network) go without.
func (b *uploadBody) Read(p []byte) (int, error) {
	until := b.start.Add(b.limits.allowed(b.read))
	if until.Sub(b.until) >= time.Second {
		b.until = until
		_ = b.ctl.SetReadDeadline(until)
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		_ = b.ctl.SetReadDeadline(time.Time{}) // all is here; the client may wait for us as long as it likes
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &formError{http.StatusRequestTimeout, "the upload came in too slowly and was given up", err}
	}
	if b.err == nil {
		b.err = err
	}
	return n, err
}
