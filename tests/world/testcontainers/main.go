// A container of testcontainers-go that answers at a port. With an argument it is left to the reaper.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func main() {
	ctx := context.Background()
	made, err := testcontainers.Run(ctx, "busybox",
		testcontainers.WithCmd("sh", "-c", "mkdir /www; echo welcome > /www/index.html; echo up; exec httpd -f -p 80 -h /www"),
		testcontainers.WithExposedPorts("80/tcp"),
		testcontainers.WithEnv(map[string]string{"A": "b"}),
		testcontainers.WithWaitStrategy(wait.ForAll(wait.ForLog("up"), wait.ForHTTP("/").WithPort("80/tcp"))),
	)
	check(err)
	address, err := made.PortEndpoint(ctx, "80/tcp", "http")
	check(err)
	answer, err := http.Get(address)
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	fmt.Print(string(body))
	code, output, err := made.Exec(ctx, []string{"sh", "-c", "echo $A"})
	check(err)
	text, err := io.ReadAll(output)
	check(err)
	fmt.Println(code, string(text[8:]))
	if len(os.Args) > 1 { // the reaper's turn
		return
	}
	check(testcontainers.TerminateContainer(made, testcontainers.StopTimeout(0)))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
