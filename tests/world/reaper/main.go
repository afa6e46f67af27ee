// Stands in for testcontainers/ryuk: who connects names filters, a line each; when the last
// connection has gone, the containers that pass are removed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const patience = time.Second

var docker = http.Client{Transport: &http.Transport{
	DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/var/run/docker.sock")
	},
}}

func main() {
	listener, err := net.Listen("tcp", ":8080")
	check(err)
	fmt.Println("Started!")
	var lock sync.Mutex
	filters, clients := map[string]bool{}, 0
	for {
		connection, err := listener.Accept()
		check(err)
		lock.Lock()
		clients++
		lock.Unlock()
		go func() {
			named := false
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				lock.Lock()
				filters[lines.Text()] = true
				lock.Unlock()
				named = true
				fmt.Fprint(connection, "ACK\n")
			}
			time.Sleep(patience)
			lock.Lock()
			defer lock.Unlock()
			clients--
			if clients == 0 && (named || len(filters) > 0) {
				for filter := range filters {
					reap(filter)
				}
				os.Exit(0)
			}
		}()
	}
}

func reap(filter string) {
	wanted := map[string][]string{}
	for _, word := range strings.Split(filter, "&") {
		name, value, _ := strings.Cut(word, "=")
		value, err := url.QueryUnescape(value)
		check(err)
		wanted[name] = append(wanted[name], value)
	}
	text, err := json.Marshal(wanted)
	check(err)
	var found []struct{ Id string }
	answer, err := docker.Get("http://docker/containers/json?all=1&filters=" + url.QueryEscape(string(text)))
	check(err)
	check(json.NewDecoder(answer.Body).Decode(&found))
	for _, one := range found {
		request, err := http.NewRequest("DELETE", "http://docker/containers/"+one.Id+"?force=1&v=1", nil)
		check(err)
		answer, err := docker.Do(request)
		check(err)
		fmt.Println("removed", one.Id, answer.StatusCode)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
