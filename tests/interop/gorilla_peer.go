// gorilla/websocket behind the command line that every peer has; see tests/README.md.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol = "interop.two"
	text        = websocket.TextMessage
	binary      = websocket.BinaryMessage
	patience    = 5 * time.Second
)

// 123 bytes, the longest possible reason.
var longReason = strings.Repeat("é", 61) + "!"

var (
	deflate    = flag.String("deflate", "none", "parameters of permessage-deflate")
	maxMessage = flag.Int64("max-message", 32<<20, "largest message")
	seed       = flag.Int64("seed", 1, "of what is random")
)

func main() {
	// Options may follow the positional arguments.
	role, arguments := os.Args[1], os.Args[2:]
	var positional []string
	for len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		positional, arguments = append(positional, arguments[0]), arguments[1:]
	}
	if err := flag.CommandLine.Parse(arguments); err != nil {
		os.Exit(2)
	}
	if role == "server" {
		serve()
		return
	}
	if err := client(positional[0], positional[1]); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(os.Stderr, "%.300s\n", line)
		os.Exit(1)
	}
}

func compressed() bool { return *deflate != "none" }

// Server

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("PORT", listener.Addr().(*net.TCPAddr).Port)
	go http.Serve(listener, http.HandlerFunc(answer))
	io.Copy(io.Discard, os.Stdin)
}

func answer(response http.ResponseWriter, request *http.Request) {
	handlers := map[string]func(*websocket.Conn, *http.Request) error{
		"/echo": echo, "/ping": echoAfterPong, "/close": closeAfterMessage, "/random": echoAtRandom,
	}
	handle := handlers[request.URL.Path]
	if request.URL.Path == "/refuse" {
		http.Error(response, "no entry", http.StatusForbidden)
		return
	}
	if handle == nil {
		http.NotFound(response, request)
		return
	}
	upgrader := websocket.Upgrader{
		Subprotocols:      []string{subprotocol},
		EnableCompression: compressed(),
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	ws, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	ws.SetReadLimit(*maxMessage)
	fmt.Println("CLOSED", received(handle(ws, request)))
}

// What the peer's Close said, as the CLOSED line has it.
func received(err error) string {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return "1006"
	}
	return strings.TrimSpace(fmt.Sprint(closed.Code, " ", closed.Text))
}

func echo(ws *websocket.Conn, _ *http.Request) error {
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if err := ws.WriteMessage(kind, message); err != nil {
			return err
		}
	}
}

// The pong is read together with the next message: the client sends none until it has the echo.
func echoAfterPong(ws *websocket.Conn, _ *http.Request) error {
	var kind int
	var message []byte
	ws.SetPongHandler(func(payload string) error {
		if payload != string(message) {
			return fmt.Errorf("the pong of %q has %q", message, payload)
		}
		return ws.WriteMessage(kind, message)
	})
	for {
		var err error
		if kind, message, err = ws.ReadMessage(); err != nil {
			return err
		}
		if err := ws.WriteControl(websocket.PingMessage, message, time.Now().Add(patience)); err != nil {
			return err
		}
	}
}

func closeAfterMessage(ws *websocket.Conn, request *http.Request) error {
	if _, _, err := ws.ReadMessage(); err != nil {
		return err
	}
	query := request.URL.Query()
	code, _ := strconv.Atoi(query.Get("code"))
	return closeWith(ws, code, query.Get("reason"))
}

// Whole, compressed or not: its interface has no fragments.
func echoAtRandom(ws *websocket.Conn, request *http.Request) error {
	seed, _ := strconv.ParseInt(request.URL.Query().Get("seed"), 10, 64)
	numbers := rand.New(rand.NewSource(seed))
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		ws.EnableWriteCompression(numbers.Intn(2) == 0)
		if err := ws.WriteMessage(kind, message); err != nil {
			return err
		}
	}
}

// Performs the closing handshake; the error with which reading ends.
func closeWith(ws *websocket.Conn, code int, reason string) error {
	frame := websocket.FormatCloseMessage(code, reason)
	if err := ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(patience)); err != nil {
		return err
	}
	ws.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
	}
}

// Client

func client(base, scenario string) error {
	dialer := websocket.Dialer{HandshakeTimeout: patience, EnableCompression: compressed()}
	path := "/echo"
	switch scenario {
	case "fragments-back":
		path = "/fragments"
	case "pong":
		path = "/ping"
	case "random":
		path = fmt.Sprint("/random?seed=", *seed)
	case "close-by-server":
		path = "/close?code=1001&reason=bye"
	case "refused":
		path = "/refuse"
	case "subprotocol":
		dialer.Subprotocols = []string{"unknown.one", subprotocol}
	}
	ws, response, err := dialer.Dial(base+path, nil)
	if scenario == "refused" {
		return refused(response, err)
	}
	if err != nil {
		return err
	}
	defer ws.Close()
	ws.SetReadLimit(*maxMessage)
	fmt.Println(strings.TrimSpace("EXTENSIONS " + response.Header.Get("Sec-WebSocket-Extensions")))
	if err := converse(ws, scenario); err != nil {
		return err
	}
	switch scenario {
	case "close-by-client", "close-by-server", "too-big-for-server", "too-big-for-client":
		return nil
	}
	return sameEnd("1000", closeWith(ws, 1000, ""))
}

func converse(ws *websocket.Conn, scenario string) error {
	switch scenario {
	case "text":
		return exchange(ws, text, "Hello, world", repeat("a", 125), repeat("b", 126), repeat("c", 65535), repeat("d", 65536))
	case "multibyte":
		edges := "\x00\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
		return exchange(ws, text, edges, repeat("Zoë isst 寿司 🍣 ", 5000))
	case "binary":
		everything := make([]byte, 256)
		for at := range everything {
			everything[at] = byte(at)
		}
		return exchange(ws, binary, string(everything), noise(1), noise(125), noise(126), noise(127), noise(65535), noise(65536))
	case "empty":
		for _, message := range []struct {
			kind int
			body string
		}{{text, ""}, {binary, ""}, {text, "after"}, {binary, ""}} {
			if err := exchange(ws, message.kind, message.body); err != nil {
				return err
			}
		}
		return nil
	case "fragments-back":
		if err := exchange(ws, text, repeat("Fragmente: ä寿🍣", 20)); err != nil {
			return err
		}
		return exchange(ws, binary, noise(100_000))
	case "burst":
		return burst(ws)
	case "ping":
		return ping(ws)
	case "pong":
		if err := exchange(ws, text, "", "one", repeat("x", 125)); err != nil {
			return err
		}
		return exchange(ws, binary, noise(125))
	case "1-mib":
		if err := exchange(ws, text, repeat("ö", 1<<19)); err != nil {
			return err
		}
		return exchange(ws, binary, noise(1<<20))
	case "16-mib":
		if err := exchange(ws, binary, noise(16<<20)); err != nil {
			return err
		}
		return exchange(ws, text, repeat("0123456789abcdef", 1<<20))
	case "subprotocol":
		if ws.Subprotocol() != subprotocol {
			return fmt.Errorf("the subprotocol is %q", ws.Subprotocol())
		}
		return exchange(ws, text, "spoken")
	case "random":
		return atRandom(ws)
	case "close-by-client":
		if err := exchange(ws, text, "last"); err != nil {
			return err
		}
		err := closeWith(ws, 4321, longReason)
		if !websocket.IsCloseError(err, 4321) {
			return fmt.Errorf("the end is %q, not 4321", received(err))
		}
		return nil
	case "close-by-server":
		if err := ws.WriteMessage(text, []byte("go")); err != nil {
			return err
		}
		return expectEnd(ws, "1001 bye")
	case "too-big-for-server":
		if err := ws.WriteMessage(binary, bytes.Repeat([]byte("x"), 2048)); err != nil {
			return err
		}
		_, _, err := ws.ReadMessage()
		if !websocket.IsCloseError(err, 1009) {
			return fmt.Errorf("the end is %v, not 1009", err)
		}
		return nil
	case "too-big-for-client":
		if err := ws.WriteMessage(binary, bytes.Repeat([]byte("x"), 2048)); err != nil {
			return err
		}
		if _, _, err := ws.ReadMessage(); !errors.Is(err, websocket.ErrReadLimit) {
			return fmt.Errorf("the end is %v, not the limit", err)
		}
		return nil
	}
	return fmt.Errorf("no scenario is called %q", scenario)
}

func repeat(part string, count int) string { return strings.Repeat(part, count) }

func noise(size int) string {
	made := make([]byte, size)
	rand.New(rand.NewSource(time.Now().UnixNano())).Read(made)
	return string(made)
}

func exchange(ws *websocket.Conn, kind int, messages ...string) error {
	for _, message := range messages {
		if err := ws.WriteMessage(kind, []byte(message)); err != nil {
			return err
		}
		if err := comes(ws, kind, message); err != nil {
			return err
		}
	}
	return nil
}

func comes(ws *websocket.Conn, kind int, sent string) error {
	got, message, err := ws.ReadMessage()
	if err != nil {
		return err
	}
	if got != kind || string(message) != sent {
		return fmt.Errorf("sent kind %d of %d: %.20q, got kind %d of %d: %.20q", kind, len(sent), sent, got, len(message), message)
	}
	return nil
}

func burst(ws *websocket.Conn) error {
	sending := make(chan error, 1)
	go func() {
		for number := 0; number < 1000; number++ {
			if err := ws.WriteMessage(text, []byte(fmt.Sprint("message ", number))); err != nil {
				sending <- err
				return
			}
		}
		sending <- nil
	}()
	for number := 0; number < 1000; number++ {
		if err := comes(ws, text, fmt.Sprint("message ", number)); err != nil {
			return err
		}
	}
	return <-sending
}

// A pong is handled while a message is read, so that each ping is followed by one.
func ping(ws *websocket.Conn) error {
	var pong *string
	ws.SetPongHandler(func(payload string) error {
		pong = &payload
		return nil
	})
	for _, payload := range []string{"", "ping", noise(125)} {
		pong = nil
		if err := ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(patience)); err != nil {
			return err
		}
		if err := exchange(ws, text, "after"); err != nil {
			return err
		}
		if pong == nil || *pong != payload {
			return fmt.Errorf("no pong of %q came before the message", payload)
		}
	}
	return nil
}

// Messages that are small more often than large, and mostly have something in common with others.
func atRandom(ws *websocket.Conn) error {
	numbers := rand.New(rand.NewSource(*seed))
	words := []string{`{"id":`, "寿司", "🍣", "Zoë ", "true,", "null}", "\x00", " "}
	for number := 0; number < 16; number++ {
		size := numbers.Intn(1<<numbers.Intn(21) + 1)
		if numbers.Intn(4) == 0 {
			size = []int{0, 1, 125, 126, 65535, 65536, 1 << 20}[numbers.Intn(7)]
		}
		kind, message := binary, make([]byte, size)
		switch numbers.Intn(4) {
		case 0:
			numbers.Read(message)
		case 1:
			message = bytes.Repeat([]byte("="), size)
		default:
			var made strings.Builder
			for made.Len() < size {
				made.WriteString(words[numbers.Intn(len(words))])
			}
			// Without a character that is cut in two.
			message = []byte(strings.ToValidUTF8(made.String()[:size], ""))
			kind = []int{text, binary}[numbers.Intn(2)]
		}
		ws.EnableWriteCompression(numbers.Intn(4) > 0)
		if err := exchange(ws, kind, string(message)); err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
	}
	return nil
}

func refused(response *http.Response, err error) error {
	if !errors.Is(err, websocket.ErrBadHandshake) {
		return fmt.Errorf("the handshake ended with %v", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusForbidden || strings.TrimSpace(string(body)) != "no entry" {
		return fmt.Errorf("status %d, body %q", response.StatusCode, body)
	}
	return nil
}

func expectEnd(ws *websocket.Conn, due string) error {
	kind, message, err := ws.ReadMessage()
	if err == nil {
		return fmt.Errorf("got kind %d of %d, not a Close", kind, len(message))
	}
	return sameEnd(due, err)
}

func sameEnd(due string, err error) error {
	if end := received(err); end != due {
		return fmt.Errorf("the end is %q (%v), not %q", end, err, due)
	}
	return nil
}
